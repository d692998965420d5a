package signaling

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
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
		expect[*protocol.MailboxDrained](a) // else its backlog may be read later, with the text in it
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

// nodeOf is where a device is found, as everybody sees it.
func (w *world) nodeOf(n *node, token string) string {
	w.t.Helper()
	id := w.tokens[token]
	all, err := n.dir.BindingsConfirmed(w.t.Context(), id.Account)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range all {
		if b.Device == id.Device {
			return b.Node
		}
	}
	return ""
}

// A node that has lost its lease, and with it perhaps all that the store had in
// memory, has its devices found again without their noticing.
func TestDevicesOutliveALease(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("memory lost %v", lost), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n1, n2 := w.node("n1"), w.node("n2")
				tokenA, tokenB := w.device(n1, alice), w.device(n2, bob)
				a, b := n1.connect(tokenA), n2.connect(tokenB)
				synctest.Wait() // the mailbox has been read
				n1.dir.Die()
				if lost {
					w.dir.LoseMemory()
				}
				if got := w.nodeOf(n2, tokenA); got != "" {
					t.Errorf("a dead node's device is found at %s", got)
				}
				// What comes meanwhile waits.
				send(t, b, "t1", alice)
				synctest.Wait()
				nothing[*protocol.MailboxItem](a)
				n1.dir.Regain()
				if lost {
					n2.dir.Die()
					n2.dir.Regain()
				}
				if it := item(a, protocol.KindMessage); it.ID != "t1" {
					t.Errorf("the text is %+v", it)
				}
				for token, n := range map[string]*node{tokenA: n1, tokenB: n2} {
					if got := w.nodeOf(n1, token); got != n.dir.Incarnation() {
						t.Errorf("found at %q, want %q", got, n.dir.Incarnation())
					}
				}
				if n1.dir.Incarnation() == "n1" {
					t.Error("the node is what it was")
				}
				talking(t, b, a, "k1", alice)
				ok[protocol.CallReply](a, &protocol.CallHangup{Call: "k1"})
				wantEnded(t, b, protocol.ReasonHangup)
				// The session ends as ever.
				a.send(protocol.Frame{}, &protocol.Bye{})
				if code := a.closedWith(); code != protocol.CloseBye {
					t.Errorf("closed with %d", code)
				}
				synctest.Wait()
				if got := w.nodeOf(n2, tokenA); got != "" {
					t.Errorf("after bye found at %s", got)
				}
			})
		})
	}
}

// Two nodes that both have a connection of a device, of which no record is
// left, agree on the newer one, whichever gets its lease first.
func TestNodesAgreeOnTheNewer(t *testing.T) {
	for _, olderFirst := range []bool{false, true} {
		t.Run(fmt.Sprintf("older first %v", olderFirst), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n1, n2 := w.node("n1"), w.node("n2")
				token := w.device(n1, alice)
				older := n1.connect(token)
				n1.dir.Die()
				time.Sleep(time.Second)
				newer := n2.connect(token)
				n2.dir.Die()
				w.dir.LoseMemory()
				order := []*node{n2, n1}
				if olderFirst {
					order = []*node{n1, n2}
				}
				for _, n := range order {
					n.dir.Regain()
				}
				if code := older.closedWith(); code != protocol.CloseReplaced {
					t.Errorf("closed with %d", code)
				}
				newer.send(protocol.Frame{}, &protocol.Ping{})
				expect[*protocol.Pong](newer)
				if got := w.nodeOf(n1, token); got != n2.dir.Incarnation() {
					t.Errorf("found at %q", got)
				}
			})
		})
	}
}

// A device that connects anew after the store lost its memory replaces the
// session that its node still has, though its fence is lower.
func TestConnectAgainAfterLoss(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		token := w.device(n, alice)
		n.connect(w.device(n, bob))
		n.connect(w.device(n, carol))
		old := n.connect(token)
		n.dir.Die()
		w.dir.LoseMemory()
		n.dir.OnLease(func(context.Context) {}) // before all is bound anew
		n.dir.Regain()
		again := n.connect(token)
		if code := old.closedWith(); code != protocol.CloseReplaced {
			t.Errorf("closed with %d", code)
		}
		n.server.Regained(t.Context())
		again.send(protocol.Frame{}, &protocol.Ping{})
		expect[*protocol.Pong](again)
		if got := w.nodeOf(n, token); got != n.dir.Incarnation() {
			t.Errorf("found at %q", got)
		}
	})
}

// A device that was removed while its node had no lease is not found again.
func TestRemovedWhilePaused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		token := w.device(n1, alice)
		p := n1.connect(token)
		n1.dir.Die()
		id := w.tokens[token]
		if err := n2.dir.RemoveDevice(t.Context(), id.Account, id.Device); err != nil {
			t.Fatal(err)
		}
		n2.server.Forget(t.Context(), id.Account, id.Device)
		n1.dir.Regain()
		if code := p.closedWith(); code != protocol.CloseToken {
			t.Errorf("closed with %d", code)
		}
		if got := w.nodeOf(n2, token); got != "" {
			t.Errorf("a removed device is found at %s", got)
		}
	})
}

// What happened to a device's calls while its node was paused it hears when the
// node is back: that it was answered, that it is over, that it rings.
func TestCallsGoOnWhileANodeIsPaused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a, b := n1.connect(w.device(n1, alice)), n2.connect(w.device(n2, bob))
		ringing(t, a, b, "k1", bob)
		n1.dir.Die()
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "k1", SDP: answerSDP})
		b.send(protocol.Frame{}, &protocol.CallCandidates{Call: "k1", Gen: "callee", N: 1, End: true})
		synctest.Wait()
		nothing[*protocol.CallAnswered](a)
		n1.dir.Regain()
		if m := expect[*protocol.CallAnswered](a); m.SDP != answerSDP {
			t.Errorf("answered with %q", m.SDP)
		}
		if m := expect[*protocol.CallCandidates](a); m.N != 1 {
			t.Errorf("candidates %+v", m)
		}

		n1.dir.Die()
		ok[protocol.CallReply](b, &protocol.CallHangup{Call: "k1"})
		n1.dir.Regain()
		if m := wantEnded(t, a, protocol.ReasonHangup); m.Mine {
			t.Errorf("ended: %+v", m)
		}

		// One that begins while another device of the callee can be rung.
		other := n2.connect(w.device(n2, alice))
		n1.dir.Die()
		ok[protocol.CallInvited](b, invite("k2", alice))
		expect[*protocol.CallIncoming](other)
		n1.dir.Regain()
		if m := expect[*protocol.CallIncoming](a); m.Call != "k2" {
			t.Errorf("rings for %s", m.Call)
		}
		// One whose record has gone is over.
		n1.dir.Die()
		_, rev, err := w.records.Load(t.Context(), callKey("k2"))
		if err == nil {
			err = w.records.Delete(t.Context(), callKey("k2"), rev)
		}
		if err != nil {
			t.Fatal(err)
		}
		n1.dir.Regain()
		wantEnded(t, a, protocol.ReasonConnectionLost)
	})
}
