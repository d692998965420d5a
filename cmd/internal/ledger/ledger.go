package ledger

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"
)

// Device is a device of an account. Account is whatever the program knows it
// by, the same in every call; Name is one of the account's. Neither is ever
// printed.
type Device struct{ Account, Name string }

// Text is one that is about to be sent.
type Text struct {
	ID   string // unique among those of From.Account
	From Device
	To   string // an account
	Type string
	Body string
	// Payloads is what each device is to get instead of Body, or nil.
	Payloads map[Device]string
}

// Item is a text as a device showed it.
type Item struct {
	Seq      uint64 // its place in the device's mailbox
	ID       string
	From, To string // accounts
	Type     string
	Body     string
}

// Ledger holds what was promised of texts and what came of them. Make one with
// [New]. All methods may be called concurrently. A text costs about 300 bytes,
// and 40 more for each device, for as long as the Ledger lives: one that has
// come may come again.
type Ledger struct {
	// Guarded by mu.
	mu       sync.Mutex
	clock    uint64 // grows with each text that is begun or stored
	accounts map[string][]*device
	texts    map[key]*text
	order    []*text // as they were begun
	broken   breaches
}

type key struct{ account, id string }

// device is one that was added. The Ledger's mu guards it.
type device struct {
	Device
	gone    bool
	lastSeq uint64
	newest  uint64 // when the latest-begun text was begun of those that it has shown
}

// text is one that was begun. The Ledger's mu guards it.
type text struct {
	Text                    // without bodies
	digest           digest // of Type and Body
	digests          map[Device]digest
	begun, stored    time.Time // stored is zero until it is acknowledged
	begunAt, ackedAt uint64    // of the clock
	failed           bool
	due              []due
}

// due is a text on its way to a device.
type due struct {
	to    *device
	owed  bool      // it was there when the text was begun
	shown time.Time // zero: not yet
}

type digest [16]byte

func digestOf(contentType, body string) (d digest) {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s %s", len(contentType), contentType, body)
	copy(d[:], h.Sum(nil))
	return d
}

// New returns an empty Ledger.
func New() *Ledger {
	return &Ledger{accounts: map[string][]*device{}, texts: map[key]*text{}}
}

// Add tells of a device. Every text that is begun from then on is owed to it,
// if it goes to its account or comes from another device of it.
func (l *Ledger) Add(d Device) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.device(d) == nil {
		l.accounts[d.Account] = append(l.accounts[d.Account], &device{Device: d})
	}
}

// Remove tells that a device is given up: nothing is owed to it any more.
func (l *Ledger) Remove(d Device) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := l.device(d); v != nil {
		v.gone = true
	}
}

func (l *Ledger) device(d Device) *device {
	for _, v := range l.accounts[d.Account] {
		if v.Device == d {
			return v
		}
	}
	return nil
}

// Begin tells that a text is about to be sent. It must be called before the
// server can know of it.
func (l *Ledger) Begin(t Text) {
	x := &text{Text: t, digest: digestOf(t.Type, t.Body)}
	if t.Payloads != nil {
		x.digests = make(map[Device]digest, len(t.Payloads))
		for d, body := range t.Payloads {
			x.digests[d] = digestOf(t.Type, body)
		}
	}
	x.Body, x.Payloads = "", nil
	l.mu.Lock()
	defer l.mu.Unlock()
	k := key{t.From.Account, t.ID}
	if l.texts[k] != nil {
		l.broken.add(Breach{Rule: Misused, Text: t.ID})
		return
	}
	for _, v := range l.accounts[t.To] {
		if !v.gone && v.Device != t.From {
			x.due = append(x.due, due{to: v, owed: true})
		}
	}
	if t.To != t.From.Account {
		for _, v := range l.accounts[t.From.Account] {
			if !v.gone && v.Device != t.From {
				x.due = append(x.due, due{to: v, owed: true})
			}
		}
	}
	l.clock++
	x.begunAt, x.begun = l.clock, time.Now()
	l.texts[k] = x
	l.order = append(l.order, x)
}

// Stored tells that the server has acknowledged a text to its sender.
func (l *Ledger) Stored(account, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.texts[key{account, id}]
	if x == nil {
		l.broken.add(Breach{Rule: Misused, Text: id})
		return
	}
	if x.stored.IsZero() {
		l.clock++
		x.ackedAt, x.stored = l.clock, time.Now()
	}
}

// Failed tells that the sender has given a text up. It may come or not: an
// answer that was lost looks the same as a request that was.
func (l *Ledger) Failed(account, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.texts[key{account, id}]; x != nil {
		x.failed = true
	}
}

// Shown tells that a device has shown a text to its person: what its SDK has
// handed on, with repeats dropped. Calls for one device must come in the order
// in which it showed them. What is wrong with it is noted and returned, the
// first thing alone, or nil.
func (l *Ledger) Shown(d Device, it Item) *Breach {
	sum := digestOf(it.Type, it.Body)
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.device(d)
	if v == nil {
		return l.broken.add(Breach{Rule: Misused, Text: it.ID})
	}
	x := l.texts[key{it.From, it.ID}]
	if x == nil || x.From == d || d.Account != x.To && d.Account != x.From.Account {
		return l.broken.add(Breach{Rule: Invented, Text: it.ID, Seq: it.Seq})
	}
	var first *Breach
	breach := func(r Rule) {
		if b := l.broken.add(Breach{Rule: r, Text: it.ID, Seq: it.Seq, After: v.lastSeq}); first == nil {
			first = b
		}
	}
	if !x.showTo(v) {
		breach(Repeated)
		return first // its place in the order is the first one's
	}
	want, ok := x.digests[d]
	if !ok {
		want = x.digest
	}
	if sum != want || it.To != x.To {
		breach(Altered)
	}
	if it.Seq <= v.lastSeq {
		breach(Misordered)
	}
	if x.ackedAt != 0 && x.ackedAt < v.newest {
		breach(Overtaken)
	}
	v.lastSeq, v.newest = max(v.lastSeq, it.Seq), max(v.newest, x.begunAt)
	return first
}

// showTo notes that a device shows the text, and reports whether it is the
// first time.
func (x *text) showTo(v *device) bool {
	for i := range x.due {
		if d := &x.due[i]; d.to == v {
			if !d.shown.IsZero() {
				return false
			}
			d.shown = time.Now()
			return true
		}
	}
	x.due = append(x.due, due{to: v, shown: time.Now()}) // a device that was added meanwhile
	return true
}

// missing counts the devices that are owed the text and have not shown it.
func (x *text) missing() (n int) {
	for _, d := range x.due {
		if d.owed && !d.to.gone && d.shown.IsZero() {
			n++
		}
	}
	return n
}
