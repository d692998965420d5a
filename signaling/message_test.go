package signaling

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/mailbox"
	"switchboard/signaling/mailbox/mailboxtest"
	"switchboard/signaling/protocol"
)

func send(t *testing.T, p *phone, id, to string) protocol.MessageStored {
	t.Helper()
	return ok[protocol.MessageStored](p, &protocol.MessageSend{ID: id, To: to, Body: "secret text " + id})
}

// item returns the next mailbox item of a kind.
func item(p *phone, kind protocol.Kind) *protocol.MailboxItem {
	for {
		if it := expect[*protocol.MailboxItem](p); it.Kind == kind {
			return it
		}
	}
}

func TestTextAndReceipts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a1, a2 := n1.connect(w.device(n1, alice)), n1.connect(w.device(n1, alice))
		b := n2.connect(w.device(n2, bob))

		got := ok[protocol.MessageStored](a1, &protocol.MessageSend{ID: "m1", To: "(415) 555-0102", Body: "secret text"})
		if got.ID != "m1" || got.To.E164() != bob || got.Time == 0 {
			t.Errorf("stored = %+v", got)
		}
		it := item(b, protocol.KindMessage)
		if it.ID != "m1" || it.Body != "secret text" || it.ContentType != "text/plain" || it.From.E164() != alice || it.Time != got.Time {
			t.Errorf("item = %+v", it)
		}
		if own := item(a2, protocol.KindMessage); own.From.E164() != alice || own.To.E164() != bob {
			t.Errorf("the sender's other device got %+v", own)
		}
		nothing[*protocol.MailboxItem](a1)

		b.send(protocol.Frame{}, &protocol.MailboxAck{Seq: it.Seq})
		for _, p := range []*phone{a1, a2} {
			if d := item(p, protocol.KindDelivered); d.ID != "m1" || d.From.E164() != bob {
				t.Errorf("delivered = %+v", d)
			}
		}
		ok[struct{}](b, &protocol.MessageRead{To: alice, ID: "m1"})
		if d := item(a1, protocol.KindRead); d.ID != "m1" {
			t.Errorf("read = %+v", d)
		}
		if tail, _ := w.boxes.Tail(t.Context(), mailbox.Box{Account: b.welcome.Account, Device: b.welcome.Device}); tail != 0 {
			t.Errorf("acknowledged items are still stored, up to %d", tail)
		}
	})
}

// Who has read is told to the author, unless one of the two wants no such
// receipts, and always to the reader's other devices.
func TestReadReceipts(t *testing.T) {
	off, on := &protocol.SettingsSet{ReadReceipts: protocol.Nobody}, &protocol.SettingsSet{ReadReceipts: protocol.Everyone}
	for name, c := range map[string]struct {
		author, reader *protocol.SettingsSet
		told           bool
	}{
		"both want them": {on, on, true}, "the author does not": {off, on, false}, "the reader does not": {on, off, false},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n := w.node("n1")
				a := n.connect(w.device(n, alice))
				b1, b2 := n.connect(w.device(n, bob)), n.connect(w.device(n, bob))
				ok[protocol.Settings](a, c.author)
				ok[protocol.Settings](b1, c.reader)
				send(t, a, "m1", bob)
				ok[struct{}](b1, &protocol.MessageRead{To: alice, ID: "m1"})
				if own := item(b2, protocol.KindRead); own.ID != "m1" || own.From.E164() != bob || own.To.E164() != alice {
					t.Errorf("the reader's other device got %+v", own)
				}
				if c.told {
					item(a, protocol.KindRead)
				}
				nothing[*protocol.MailboxItem](a)
			})
		})
	}
}

// A device that was away gets everything in order, then the marker, then what
// is new.
func TestBacklog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.MessagesBurst, w.config.Limits.PairMessagesBurst = 1000, 1000
		w.config.Limits.FramesBurst = 1000
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		token := w.device(n, bob)
		const count = 600 // more than may be in flight
		for i := range count {
			send(t, a, fmt.Sprint("m", i), bob)
		}
		b := n.connect(token)
		var seq uint64
		for i := range count {
			it := item(b, protocol.KindMessage)
			if it.ID != fmt.Sprint("m", i) || it.Seq <= seq {
				t.Fatalf("item %d is %s seq %d after %d", i, it.ID, it.Seq, seq)
			}
			seq = it.Seq
			if i%64 == 63 {
				b.send(protocol.Frame{}, &protocol.MailboxAck{Seq: seq})
			}
		}
		if d := expect[*protocol.MailboxDrained](b); d.Seq != seq {
			t.Errorf("drained at %d, want %d", d.Seq, seq)
		}
		b.send(protocol.Frame{}, &protocol.MailboxAck{Seq: seq})
		send(t, a, "live", bob)
		if it := item(b, protocol.KindMessage); it.ID != "live" {
			t.Errorf("after the backlog came %s", it.ID)
		}
	})
}

// No more is sent than may be in flight, and a device that acknowledges
// nothing gets it again.
func TestBackPressureAndRedelivery(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.InFlightItems = 10
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		token := w.device(n, bob)
		for i := range 25 {
			send(t, a, fmt.Sprint("m", i), bob)
		}
		b := n.connect(token)
		for range 10 {
			item(b, protocol.KindMessage)
		}
		nothing[*protocol.MailboxItem](b)
		nothing[*protocol.MailboxDrained](b)
		b.cut()
		b = n.hello(&protocol.Hello{Token: token, Resume: &protocol.Resume{Session: b.welcome.Session, Key: b.welcome.Key, S: b.lastS}})
		for i := range 25 {
			it := item(b, protocol.KindMessage)
			if it.ID != fmt.Sprint("m", i) {
				t.Fatalf("item %d is %s", i, it.ID)
			}
			b.send(protocol.Frame{}, &protocol.MailboxAck{Seq: it.Seq})
		}
		expect[*protocol.MailboxDrained](b)
	})
}

// Large items wait for room instead of getting the device closed as slow.
func TestLargeBacklog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.MessagesBurst, w.config.Limits.PairMessagesBurst = 1000, 1000
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		token := w.device(n, bob)
		for i := range 80 {
			ok[protocol.MessageStored](a, &protocol.MessageSend{ID: fmt.Sprint("m", i), To: bob, Body: strings.Repeat("x", protocol.MaxMessage)})
		}
		b := n.connect(token)
		for i := range 80 {
			it := item(b, protocol.KindMessage)
			if it.ID != fmt.Sprint("m", i) {
				t.Fatalf("item %d is %s", i, it.ID)
			}
			b.send(protocol.Frame{}, &protocol.MailboxAck{Seq: it.Seq})
		}
		expect[*protocol.MailboxDrained](b)
	})
}

func TestSendIsIdempotent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		send(t, a, "m1", bob)
		send(t, a, "m1", bob)
		send(t, a, "m2", bob)
		for _, id := range []string{"m1", "m2"} {
			if it := item(b, protocol.KindMessage); it.ID != id {
				t.Errorf("got %s, want %s", it.ID, id)
			}
		}
	})
}

func TestSendRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := mailbox.Default()
		c.Items = 3
		w.boxes = mailboxtest.NewWith(c)
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		w.device(n, bob)
		for name, m := range map[string]struct {
			to   string
			body string
			code protocol.Code
		}{
			"nobody":    {carol, "secret text", protocol.CodeNotFound},
			"oneself":   {alice, "secret text", protocol.CodeSelf},
			"no number": {"secret text", "secret text", protocol.CodeNumber},
			"no body":   {bob, "", protocol.CodeInvalid},
			"too long":  {bob, strings.Repeat("x", protocol.MaxMessage+1), protocol.CodeInvalid},
		} {
			if e := a.refused(&protocol.MessageSend{ID: "m", To: m.to, Body: m.body}); e.Code != m.code {
				t.Errorf("%s: refused with %s, want %s", name, e.Code, m.code)
			}
		}
		for i := range 3 {
			send(t, a, fmt.Sprint("m", i), bob)
		}
		if e := a.refused(&protocol.MessageSend{ID: "m3", To: bob, Body: "secret text"}); e.Code != protocol.CodeMailboxFull {
			t.Errorf("a full mailbox: refused with %s", e.Code)
		}
	})
}

// An account texts another as often from two devices as from one, and others all
// the same.
func TestPairsAreLimited(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.PairMessagesBurst = 2
		w.config.Limits.PairMessagesPerSecond = 1
		n := w.node("n1")
		a1, a2 := n.connect(w.device(n, alice)), n.connect(w.device(n, alice))
		w.device(n, bob)
		w.device(n, carol)
		send(t, a1, "m1", bob)
		send(t, a2, "m2", bob)
		for _, p := range []*phone{a1, a2} {
			if e := p.refused(&protocol.MessageSend{ID: "m3", To: bob, Body: "secret text"}); e.Code != protocol.CodeRate || e.AfterMS <= 0 || e.AfterMS > 1000 {
				t.Fatalf("limited with %+v", e)
			}
		}
		send(t, a1, "m4", carol)
		time.Sleep(time.Second)
		send(t, a2, "m3", bob)
	})
}

// The same id with other content is a conflict, on any node, and a repeat is the
// same text.
func TestConflict(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		token := w.device(n1, alice)
		a := n1.connect(token)
		w.device(n1, bob) // away: the text waits
		w.device(n1, carol)
		first := protocol.MessageSend{ID: "m1", To: bob, Body: "secret text", ExpiresMS: 60_000}
		others := map[string]func(*protocol.MessageSend){
			"body": func(m *protocol.MessageSend) { m.Body = "another secret text" },
			"type": func(m *protocol.MessageSend) { m.ContentType = "text/html" },
			"life": func(m *protocol.MessageSend) { m.ExpiresMS = 0 },
		}
		stored := ok[protocol.MessageStored](a, &first)
		for _, n := range []*node{n1, n2} { // the one that took it, and another
			p := n.connect(token)
			for what, change := range others {
				m := first
				change(&m)
				if e := p.refused(&m); e.Code != protocol.CodeConflict || e.Retry {
					t.Errorf("another %s: %+v", what, e)
				}
			}
			ok[protocol.MessageStored](p, &first)
		}
		a = n1.connect(token)
		time.Sleep(time.Minute)
		if again := ok[protocol.MessageStored](a, &first); again.Time != stored.Time {
			t.Errorf("a repeat was stored at %d, the text at %d", again.Time, stored.Time)
		}
		elsewhere := first
		elsewhere.To = carol
		if e := a.refused(&elsewhere); e.Code != protocol.CodeConflict {
			t.Errorf("to somebody else: %+v", e)
		}
	})
}

// A text whose sender has given it a life is gone when that is over, on every
// device that has not fetched it.
func TestExpiry(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		here, away := n.connect(w.device(n, bob)), w.device(n, bob)
		stored := ok[protocol.MessageStored](a, &protocol.MessageSend{ID: "m1", To: bob, Body: "secret text", ExpiresMS: 90_000})
		if it := item(here, protocol.KindMessage); it.Expires != stored.Time+90_000 {
			t.Errorf("expires at %d, want %d", it.Expires, stored.Time+90_000)
		}
		send(t, a, "m2", bob)
		time.Sleep(2 * time.Minute)
		if it := item(n.connect(away), protocol.KindMessage); it.ID != "m2" || it.Expires != 0 {
			t.Errorf("the first item after the first text's life is %+v", it)
		}
		for _, ms := range []int64{-1, 999, protocol.MaxExpiry + 1} {
			if e := a.refused(&protocol.MessageSend{ID: "m3", To: bob, Body: "secret text", ExpiresMS: ms}); e.Code != protocol.CodeInvalid {
				t.Errorf("a life of %d ms: %+v", ms, e)
			}
		}
	})
}

// A device that fetches nothing does not keep others of its account from being
// reached, and learns that it has missed something.
func TestOneMailboxIsFull(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := mailbox.Default()
		c.Items = 3
		w.boxes = mailboxtest.NewWith(c)
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		idle, token := w.device(n, bob), w.device(n, bob)
		b := n.connect(token)
		for i := range 5 {
			send(t, a, fmt.Sprint("m", i), bob)
			b.send(protocol.Frame{}, &protocol.MailboxAck{Seq: item(b, protocol.KindMessage).Seq})
			time.Sleep(time.Second)
		}
		rec, err := n.dir.DeviceOf(t.Context(), w.tokens[idle].Account, w.tokens[idle].Device)
		if err != nil || time.Since(rec.Missed) > 3*time.Second {
			t.Fatalf("the idle device is noted to miss something since %v: %v", rec.Missed, err)
		}
		id := w.tokens[idle]
		id.Missed = rec.Missed // as who checks tokens has read it
		w.tokens[idle] = id
		late := n.connect(idle)
		for i := range 3 {
			it := item(late, protocol.KindMessage)
			if it.ID != fmt.Sprint("m", i) {
				t.Errorf("item %d is %s", i, it.ID)
			}
			late.send(protocol.Frame{}, &protocol.MailboxAck{Seq: it.Seq})
		}
		if m := expect[*protocol.MailboxDrained](late); m.Missed != rec.Missed.UnixMilli() {
			t.Errorf("drained = %+v, want missed since %d", m, rec.Missed.UnixMilli())
		}
		late.send(protocol.Frame{}, &protocol.Ping{})
		synctest.Wait()
		if rec, err = n.dir.DeviceOf(t.Context(), id.Account, id.Device); !rec.Missed.IsZero() || err != nil {
			t.Errorf("the device was told, and it is still noted: %v, %v", rec.Missed, err)
		}
	})
}

func TestMessagesAreLimited(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.MessagesBurst = 2
		w.config.Limits.MessagesPerSecond = 1
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		w.device(n, bob)
		send(t, a, "m1", bob)
		send(t, a, "m2", bob)
		e := a.refused(&protocol.MessageSend{ID: "m3", To: bob, Body: "secret text"})
		if e.Code != protocol.CodeRate || e.AfterMS <= 0 || e.AfterMS > 1000 {
			t.Fatalf("limited with %+v", e)
		}
		time.Sleep(time.Duration(e.AfterMS) * time.Millisecond)
		send(t, a, "m3", bob)
	})
}

func TestTypingAndPresence(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		ok[protocol.ContactsFound](b, &protocol.ContactsSync{Numbers: []string{alice}})
		a.send(protocol.Frame{}, &protocol.Typing{To: bob})
		if m := expect[*protocol.Typing](b); m.From == nil || m.From.E164() != alice {
			t.Errorf("typing = %+v", m)
		}
		if p := ok[protocol.Presence](a, &protocol.PresenceGet{Number: bob}); !p.Online {
			t.Errorf("presence = %+v", p)
		}
		if p := ok[protocol.Presence](a, &protocol.PresenceGet{Number: carol}); p.Online || p.LastSeen != 0 {
			t.Errorf("presence of nobody = %+v", p)
		}
		b.send(protocol.Frame{}, &protocol.Bye{})
		b.closedWith()
		synctest.Wait()
		if p := ok[protocol.Presence](a, &protocol.PresenceGet{Number: bob}); p.Online || p.LastSeen == 0 {
			t.Errorf("presence after leaving = %+v", p)
		}
	})
}

// A poke that was lost between nodes delays an item; it does not lose it.
func TestLostPoke(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		expect[*protocol.MailboxDrained](a)
		box := mailbox.Box{Account: a.welcome.Account, Device: a.welcome.Device}
		it := stored{MailboxItem: protocol.MailboxItem{Kind: protocol.KindMessage, ID: "m1", Body: "secret text", Time: 1, From: a.welcome.Number, To: a.welcome.Number}}
		if _, err := w.boxes.Put(t.Context(), entriesFor([]mailbox.Box{box}, "x", it)...); err != nil {
			t.Fatal(err)
		}
		nothing[*protocol.MailboxItem](a)
		start := time.Now()
		item(a, protocol.KindMessage)
		if d := time.Since(start); d > 2*time.Minute {
			t.Errorf("it came after %v", d)
		}
	})
}
