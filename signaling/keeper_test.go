package signaling

import (
	"fmt"
	"testing"
	"time"

	"switchboard/signaling/call"
	"switchboard/signaling/protocol"
)

// A node that keeps a call dies, and nobody asks for the call: another node ends it
// when it is time, for the right reason, and both sides find it in their histories.
func TestTimersOutliveTheirNode(t *testing.T) {
	connected := func(p *phone) {
		p.send(protocol.Frame{}, &protocol.CallReport{Call: "c1", Media: protocol.MediaConnected})
	}
	for _, test := range []struct {
		name     string
		callee   bool // has a device
		bring    func(a, b *phone)
		after    time.Duration // of what bring did
		reason   protocol.Reason
		answered bool
	}{
		{"trying", false, func(a, b *phone) {}, call.ReachFor, protocol.ReasonUnreachable, false},
		{"ringing", true, func(a, b *phone) {}, call.RingFor, protocol.ReasonNoAnswer, false},
		{"connecting", true, func(a, b *phone) {
			ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		}, 2 * call.ConnectFor, protocol.ReasonICEFailed, true},
		{"reconnecting", true, func(a, b *phone) {
			ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
			connected(a)
			connected(b)
			expect[*protocol.CallState](b)
			b.send(protocol.Frame{}, &protocol.CallReport{Call: "c1", Media: protocol.MediaDisconnected})
			expect[*protocol.CallState](b)
		}, call.ReconnectFor, protocol.ReasonConnectionLost, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n1, n2 := w.node("n1"), w.node("n2")
				time.Sleep(2 * lookEvery) // they have looked for what was there before them
				ta, tb := w.device(n1, alice), w.device(n1, bob)
				a, b := n1.connect(ta), (*phone)(nil)
				if test.callee {
					b = n1.connect(tb)
					ringing(t, a, b, "c1", bob)
				} else {
					ok[protocol.CallInvited](a, invite("c1", bob))
				}
				test.bring(a, b)
				begun := time.Now()
				n1.crash()

				early := begun.Add(test.after - 2*time.Second)
				time.Sleep(time.Until(early))
				if r := w.stored(n2, "c1"); r.State == protocol.Ended {
					t.Fatalf("it ended %v early: %s", time.Until(begun.Add(test.after)), r.Reason)
				}
				time.Sleep(6 * time.Second)
				if r := w.stored(n2, "c1"); r.State != protocol.Ended || r.Reason != test.reason || r.Keeper != "n2" {
					t.Fatalf("it is %s, %q, kept by %s; want %q", r.State, r.Reason, r.Keeper, test.reason)
				}
				for _, token := range []string{ta, tb} {
					if it := history(t, n2.connect(token)).Call; it.Reason != test.reason || it.Answered != test.answered {
						t.Errorf("history has %+v", it)
					}
				}
			})
		})
	}
}

func (w *world) stored(n *node, id string) record {
	w.t.Helper()
	r, _, _, err := n.server.calls.load(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// A node dies when it has ended a call, before it has told the histories.
func TestWhatWasLeftUndoneAtTheEndIsDone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		time.Sleep(2 * lookEvery)
		ta := w.device(n1, alice)
		a := n1.connect(ta)
		ok[protocol.CallInvited](a, invite("c1", bob))
		r, _, rev, err := n1.server.calls.load(t.Context(), "c1")
		if err != nil {
			t.Fatal(err)
		}
		n1.crash()
		if r.Call, _, err = r.Next(call.Cancel{}, now()); err != nil {
			t.Fatal(err)
		}
		data, ttl, _ := r.encode()
		if _, err := w.records.Save(t.Context(), callKey("c1"), data, rev, ttl); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		b := n2.connect(ta)
		if it := history(t, b).Call; it.Reason != protocol.ReasonCanceled {
			t.Errorf("history has %+v", it)
		}
		nothing[*protocol.MailboxItem](b)
		if r := w.stored(n2, "c1"); len(r.Due) != 0 {
			t.Errorf("timers left: %v", r.Due)
		}
	})
}

// Many calls of a dead node are shared by those that are left.
func TestCallsOfADeadNodeAreShared(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.StrangersPerHour, w.config.Limits.InvitesBurst = 500, 500
		nodes := []*node{w.node("n1"), w.node("n2"), w.node("n3"), w.node("n4")}
		time.Sleep(2 * lookEvery)
		a := nodes[0].connect(w.device(nodes[0], alice))
		const calls = 90
		for i := range calls {
			ok[protocol.CallInvited](a, invite(fmt.Sprint("c", i), fmt.Sprintf("+14155551%03d", i)))
		}
		nodes[0].crash()
		time.Sleep(3 * time.Second)
		kept := 0
		for _, n := range nodes[1:] {
			got := n.server.calls.timers.len()
			if got < calls/3 || got > calls { // each call has two
				t.Errorf("%s keeps %d timers of %d", n.server.Nodes.Incarnation(), got, 2*calls)
			}
			kept += got
		}
		if kept != 2*calls {
			t.Errorf("%d timers are kept, want %d", kept, 2*calls)
		}
		time.Sleep(time.Minute)
		for i := range calls {
			if r := w.stored(nodes[1], fmt.Sprint("c", i)); r.Reason != protocol.ReasonUnreachable {
				t.Errorf("c%d ended by %q", i, r.Reason)
			}
		}
	})
}
