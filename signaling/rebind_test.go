package signaling

import (
	"testing"
	"time"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// A node that has been without a lease keeps its connections, and gives its
// devices what they have missed once it has another.
func TestLeaseRegained(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		tokenA := w.device(n1, alice)
		a, b := n1.connect(tokenA), n2.connect(w.device(n2, bob))
		n1.dir.Die()

		send(t, b, "m1", alice)
		nothing[*protocol.MailboxItem](a)
		out := "call-while-away"
		ok[protocol.CallInvited](b, &protocol.CallInvite{Call: out, To: alice, Media: []protocol.Media{protocol.Audio}, SDP: "v=0 secret offer"})
		nothing[*protocol.CallIncoming](a)
		d := n1.dial()
		d.send(protocol.Frame{}, &protocol.Hello{Token: w.device(n1, "+14155550103")})
		if e := expect[*protocol.Error](d); e.Code != protocol.CodeUnavailable || !e.Retry {
			t.Errorf("a new device without a lease: %+v", e)
		}
		if code := d.closedWith(); !code.Reconnect() {
			t.Errorf("closed with %v, which is for good", code)
		}

		n1.dir.Regain()
		if it := item(a, protocol.KindMessage); it.ID != "m1" {
			t.Errorf("the text that was missed: %+v", it)
		}
		if in := expect[*protocol.CallIncoming](a); in.Call != out {
			t.Errorf("rung for %+v", in)
		}
		ok[protocol.CallReply](a, &protocol.CallAnswer{Call: out, SDP: "v=0 secret answer"})
		if e := expect[*protocol.CallAnswered](b); e.Call != out {
			t.Errorf("answered %+v", e)
		}
		send(t, b, "m2", alice)
		if it := item(a, protocol.KindMessage); it.ID != "m2" {
			t.Errorf("the next text: %+v", it)
		}
	})
}

// A device that took part in a call connects again, and hears how it stands.
func TestLeaseRegainedInACall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		token := w.device(n1, alice)
		a, b := n1.connect(token), n2.connect(w.device(n2, bob))
		id := "call-in-progress"
		ok[protocol.CallInvited](b, &protocol.CallInvite{Call: id, To: alice, Media: []protocol.Media{protocol.Audio}, SDP: "v=0 secret offer"})
		expect[*protocol.CallIncoming](a)
		ok[protocol.CallReply](a, &protocol.CallAnswer{Call: id, SDP: "v=0 secret answer"})
		n1.dir.Die()
		n1.dir.Regain()
		if code := a.closedWith(); code != protocol.CloseLease {
			t.Errorf("closed with %v", code)
		}
		again := n1.connect(token)
		if c := again.welcome.Calls; len(c) != 1 || c[0].Call != id {
			t.Errorf("calls %+v", c)
		}
		ok[protocol.CallReply](again, &protocol.CallHangup{Call: id})
		expect[*protocol.CallEnded](b)
		expect[*protocol.CallEnded](again)

		n1.dir.Die() // the call is over, and nothing else has happened
		n1.dir.Regain()
		send(t, b, "m1", alice)
		item(again, protocol.KindMessage)
	})
}

// A device that has moved to another node meanwhile stays there.
func TestLeaseRegainedTooLate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		token := w.device(n1, alice)
		a := n1.connect(token)
		n1.dir.Die()
		time.Sleep(time.Minute)
		moved := n2.connect(token)
		n1.dir.Regain()
		if code := a.closedWith(); code != protocol.CloseReplaced {
			t.Errorf("the connection before is closed with %v", code)
		}
		b := n1.connect(w.device(n1, bob))
		send(t, b, "m1", alice)
		item(moved, protocol.KindMessage)
		if all, err := n2.dir.BindingsConfirmed(t.Context(), moved.account()); err != nil || len(all) != 1 || all[0].Node != "n2" {
			t.Errorf("bindings %+v, %v", all, err)
		}
	})
}

func (p *phone) account() directory.Account { return directory.Account(p.welcome.Account) }
