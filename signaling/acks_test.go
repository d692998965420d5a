package signaling

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/mailbox"
	"switchboard/signaling/protocol"
)

// A stream of texts that are acknowledged one by one costs its sender a few
// receipts; the first comes at once, and the last tells of all.
func TestReceiptsOfAStream(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.MessagesBurst = 100
		n1, n2 := w.node("n1"), w.node("n2")
		a := n1.connect(w.device(n1, alice))
		b := n2.connect(w.device(n2, bob))
		const count = 40
		for i := range count {
			send(t, a, fmt.Sprint("m", i), bob)
			b.send(protocol.Frame{}, &protocol.MailboxAck{Seq: item(b, protocol.KindMessage).Seq})
			if i == 0 {
				synctest.Wait()
				if d := item(a, protocol.KindDelivered); d.ID != "m0" {
					t.Errorf("delivered = %+v", d)
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		for receipts := 1; ; receipts++ {
			if item(a, protocol.KindDelivered).ID == fmt.Sprint("m", count-1) {
				break
			}
			if receipts > 5 { // 40 × 10 ms, and one in 200 ms
				t.Fatal("receipts do not wait for each other")
			}
		}
		synctest.Wait()
		w.empty(b)
	})
}

// What cannot be removed while the store is away is removed afterwards.
func TestAcksOutliveTheStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		b := n.connect(w.device(n, bob))
		send(t, a, "m1", bob)
		it := item(b, protocol.KindMessage)
		w.boxes.Fail(mailbox.ErrUnavailable)
		b.send(protocol.Frame{}, &protocol.MailboxAck{Seq: it.Seq})
		time.Sleep(time.Second)
		w.boxes.Fail(nil)
		time.Sleep(time.Second)
		if d := item(a, protocol.KindDelivered); d.ID != "m1" {
			t.Errorf("delivered = %+v", d)
		}
		w.empty(b)
	})
}

// A device that resumes does not get again what it has acknowledged, though the
// node has not removed it yet.
func TestAckedIsNotRepeated(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		token := w.device(n, bob)
		b := n.connect(token)
		for i := range 3 {
			send(t, a, fmt.Sprint("m", i), bob)
			b.send(protocol.Frame{}, &protocol.MailboxAck{Seq: item(b, protocol.KindMessage).Seq})
			synctest.Wait() // but no time passes
		}
		b.cut()
		again := n.hello(&protocol.Hello{Token: token, Resume: &protocol.Resume{Session: b.welcome.Session, Key: b.welcome.Key}})
		if again.welcome.Resumed != protocol.ResumedFull {
			t.Fatalf("resumed = %q", again.welcome.Resumed)
		}
		nothing[*protocol.MailboxItem](again)
	})
}

// empty checks that a phone's mailbox is.
func (w *world) empty(p *phone) {
	w.t.Helper()
	if tail, err := w.boxes.Tail(w.t.Context(), mailbox.Box{Account: p.welcome.Account, Device: p.welcome.Device}); tail != 0 || err != nil {
		w.t.Errorf("items up to %d are still stored: %v", tail, err)
	}
}
