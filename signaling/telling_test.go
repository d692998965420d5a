package signaling

import (
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

// What a node could not tell another, because that did not answer, it tells
// again, in order.
func TestToldAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a, b := n1.connect(w.device(n1, alice)), n2.connect(w.device(n2, bob))
		n1.unheard.Store(3)
		ok[protocol.CallInvited](a, invite("k1", bob))
		a.send(protocol.Frame{}, &protocol.CallCandidates{Call: "k1", Gen: "caller", N: 1, End: true})
		if m := expect[*protocol.CallIncoming](b); m.Call != "k1" {
			t.Errorf("rung for %s", m.Call)
		}
		if m := expect[*protocol.CallCandidates](b); m.N != 1 {
			t.Errorf("candidates %+v", m)
		}
		n2.unheard.Store(2)
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "k1", SDP: answerSDP})
		if m := expect[*protocol.CallAnswered](a); m.SDP != answerSDP {
			t.Errorf("answered with %q", m.SDP)
		}
		n1.unheard.Store(2)
		send(t, a, "m1", bob)
		if it := item(b, protocol.KindMessage); it.ID != "m1" {
			t.Errorf("the text: %+v", it)
		}
		if n := n1.server.telling.devices() + n2.server.telling.devices(); n > 0 {
			t.Errorf("%d devices are still behind", n)
		}
	})
}

// A device is not rung for a call that is over, however late it is reached, and
// nothing is tried for ever.
func TestNotToldTooLate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		token := w.device(n1, alice)
		a, b := n1.connect(token), n2.connect(w.device(n2, bob))
		n1.unheard.Store(1000)
		ok[protocol.CallInvited](a, invite("k1", bob))
		again := n2.connect(token) // the caller moves, and gives up
		ok[protocol.CallReply](again, &protocol.CallCancel{Call: "k1"})
		n1.unheard.Store(0)
		synctest.Wait()
		time.Sleep(2 * tellAgainMost)
		nothing[*protocol.CallIncoming](b)

		n1.unheard.Store(1000)
		other := n1.connect(w.device(n1, "+14155550103"))
		send(t, other, "m1", bob)
		time.Sleep(2 * tellFor)
		if n := n1.server.telling.devices(); n > 0 {
			t.Errorf("%d devices are still behind", n)
		}
		n1.unheard.Store(0)
	})
}

// A device whose node was paused when it was rung, and lost its lease, is rung
// when the node has another.
func TestRungWhilePaused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a, b := n1.connect(w.device(n1, alice)), n2.connect(w.device(n2, bob))
		n2.unheard.Store(1000)
		ok[protocol.CallInvited](b, invite("k1", alice))
		n1.dir.Die()
		n2.unheard.Store(0)
		time.Sleep(2 * tellAgainMost) // found nowhere, and forgotten
		nothing[*protocol.CallIncoming](a)
		n1.dir.Regain()
		if m := expect[*protocol.CallIncoming](a); m.Call != "k1" {
			t.Errorf("rung for %s", m.Call)
		}
	})
}

// A device that connects while the records of calls are away is told to come
// again: from a welcome without its call it would conclude that the call is over.
func TestNoWelcomeWithoutTheCalls(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		token := w.device(n, alice)
		a, b := n.connect(token), n.connect(w.device(n, bob))
		talking(t, a, b, "k1", bob)
		w.records.Fail(callstore.ErrUnavailable)
		again := n.dial()
		again.send(protocol.Frame{}, &protocol.Hello{Token: token})
		if e := expect[*protocol.Error](again); e.Code != protocol.CodeUnavailable || !e.Retry {
			t.Errorf("refused with %+v", e)
		}
		if code := again.closedWith(); !code.Reconnect() {
			t.Errorf("closed with %v, which is for good", code)
		}
		w.records.Fail(nil)
		if c := n.connect(token); len(c.welcome.Calls) != 1 {
			t.Errorf("calls %v, want the one in progress", c.welcome.Calls)
		}
	})
}

// An invite whose record was written without the node hearing of it is carried
// out when the device sends it again.
func TestInviteWrittenUnheard(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a, b := n1.connect(w.device(n1, alice)), n2.connect(w.device(n2, bob))
		n1.unheard.Store(1000)
		ok[protocol.CallInvited](a, invite("k1", bob))
		time.Sleep(2 * tellFor) // the ring is given up, as if the node had died
		n1.unheard.Store(0)
		nothing[*protocol.CallIncoming](b)
		ok[protocol.CallInvited](a, invite("k1", bob))
		if m := expect[*protocol.CallIncoming](b); m.Call != "k1" {
			t.Errorf("rung for %s", m.Call)
		}
	})
}
