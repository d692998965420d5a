package directory

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/directory/e164"
)

var (
	DecodeAccount  = decodeAccount
	DecodeDevice   = decodeDevice
	DecodeBinding  = decodeBinding
	DecodeNumber   = decodeNumber
	DecodeSeen     = decodeSeen
	DecodePeople   = decodePeople
	DecodeLease    = decodeLease
	DecodeRelay    = decodeRelay
	DeviceKey      = deviceKey
	ParseDeviceKey = parseDeviceKey
	NewAccount     = newAccount
)

// EncodeOver is encodeOver.
func EncodeOver(old []byte, v any) ([]byte, error) { return encodeOver(old, v) }

// NumberKey is numberKey.
func NumberKey(secret []byte, n e164.Number) string { return numberKey(secret, n) }

// LeaseKey and SweepKey are keys in NODES.
var LeaseKey = leaseKey

const (
	SweepKey = sweepKey
	AskQueue = askQueue
)

// Counts is counts.
func Counts(d *Directory) (nodes, unseen int) { return d.counts() }

// NoteSeen is noteSeen.
func NoteSeen(ctx context.Context, d *Directory, a Account, at time.Time) error {
	return d.noteSeen(ctx, a, at)
}

// Waiting is how many requests of other nodes wait.
func Waiting(d *Directory) int { return int(d.queued.Load()) }

// Forget lets a node forget that it heard of another.
func Forget(d *Directory, incarnation string) { d.noteLease(incarnation, nil, time.Now()) }

// SweepLate sweeps up what was there before something happened.
func SweepLate(ctx context.Context, d *Directory, happens func()) error {
	entries, _, err := d.presence.scan(ctx, 1, sweepBatch)
	if err != nil {
		return err
	}
	happens()
	for _, e := range entries {
		if err := d.sweepOne(ctx, e, map[string]bool{}); err != nil {
			return err
		}
	}
	return nil
}

// BindLate binds a device of which it has read the record before something
// happened.
func BindLate(ctx context.Context, d *Directory, a Account, dev Device, happens func()) error {
	rev, _, err := d.bindingAt(ctx, d.presence.get, a, dev)
	if err != nil {
		return err
	}
	happens()
	_, err = d.bindOver(ctx, Binding{V: recordVersion, Account: a, Device: dev, Conn: "late", Since: now()}, rev)
	return err
}

// Unheard is how many announcements of a watched account found no room.
func Unheard(d *Directory, a Account) int {
	d.watches.mu.Lock()
	defer d.watches.mu.Unlock()
	n, _ := d.watches.of[a].sub.Dropped()
	return n
}

// WatchQueue is how many announcements may wait.
const WatchQueue = watchQueue

// writes counts what a Directory writes down, lets something happen meanwhile,
// and has it fail from one on.
type writes struct {
	jetstream.JetStream
	n      int
	during func(moment int)
	fail   int  // the first that fails, 0 for none
	lost   bool // that one is written all the same, but its answer is lost
}

var errBroken = errors.New("broken")

func (w *writes) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	w.n++
	n := w.n
	if w.during != nil {
		w.during(2*n - 1)
		defer w.during(2 * n)
	}
	if w.fail == 0 || n < w.fail {
		return w.JetStream.PublishMsg(ctx, m, opts...)
	}
	if n == w.fail && w.lost {
		if _, err := w.JetStream.PublishMsg(ctx, m, opts...); err != nil {
			return nil, err
		}
	}
	return nil, errBroken
}

func (d *Directory) through(w *writes) {
	for _, b := range []*bucket{d.accounts, d.devices, d.presence, d.seen, d.people} {
		b.js = w
	}
}

// Break lets no write of a directory that does not run succeed from the one
// numbered fail on; of that one, if lost, only the answer is lost. mend ends it,
// and tells how many there were.
func Break(d *Directory, fail int, lost bool) (mend func() int) {
	w := &writes{JetStream: d.js, fail: fail, lost: lost}
	d.through(w)
	return func() int { d.through(&writes{JetStream: d.js}); return w.n }
}

// During calls f before and after each write of a directory that does not run,
// with 1 before the first, 2 after it, and so on.
func During(d *Directory, f func(moment int)) (mend func()) {
	d.through(&writes{JetStream: d.js, during: f})
	return func() { d.through(&writes{JetStream: d.js}) }
}

// LeadsTo is what a number's record says: the account, or "" of a tombstone.
func LeadsTo(ctx context.Context, d *Directory, n e164.Number) (a Account, hidden bool, err error) {
	e, err := d.accounts.getLeader(ctx, numberKey(d.config.Secret, n))
	if errors.Is(err, ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	r, err := decodeNumber(e.data)
	return r.Account, r.Hidden, err
}

// Unfinished reads an account as it is, also if its deletion has begun.
func Unfinished(ctx context.Context, d *Directory, a Account) (AccountRecord, bool, error) {
	rec, _, err := d.anyAccount(ctx, a)
	return rec, rec.unfinished(), err
}

// Remains lists the buckets that have something of an account.
func Remains(ctx context.Context, d *Directory, a Account) ([]string, error) {
	var all []string
	for _, b := range []struct {
		*bucket
		pattern string
	}{{d.accounts, accountKey(a)}, {d.devices, string(a) + ".*"}, {d.presence, string(a) + ".*"}, {d.seen, string(a)}, {d.people, string(a)}} {
		entries, err := b.list(ctx, b.pattern)
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 {
			all = append(all, b.name)
		}
	}
	return all, nil
}

// Alive has a directory that does not run hold its lease for an hour, as far as
// it knows.
func Alive(d *Directory) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.good = time.Now().Add(time.Hour)
}

// AgeRelays has all relays be heard of that much longer ago, and looks which are dead.
func AgeRelays(d *Directory, by time.Duration) {
	d.mu.Lock()
	for name, r := range d.relays {
		r.at = r.at.Add(-by)
		d.relays[name] = r
	}
	d.mu.Unlock()
	d.lapseRelays()
}

// HearAgain is what happens to relays when the node hears again.
func HearAgain(d *Directory) { d.spareRelays() }

// HearRelay has a node hear a relay.
func HearRelay(d *Directory, name, data string) { d.noteRelay(name, []byte(data)) }
