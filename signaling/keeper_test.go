package signaling

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
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

// A record that this node cannot read does not keep it from the others.
func TestBadRecordsAreLeftAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		time.Sleep(2 * lookEvery)
		for i := range 40 {
			if _, err := w.records.Create(t.Context(), callKey(fmt.Sprint("bad", i)), []byte(`{"v":99,"due":[{}]}`), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		a := n1.connect(w.device(n1, alice))
		ok[protocol.CallInvited](a, invite("c1", bob))
		n1.crash()
		time.Sleep(time.Minute)
		if r := w.stored(n2, "c1"); r.Reason != protocol.ReasonUnreachable {
			t.Errorf("it is %s, %q", r.State, r.Reason)
		}
		if got := strings.Count(w.logs.String(), "taken over"); got > 60 {
			t.Errorf("the log says so %d times", got)
		}
	})
}

// A node that lives has lost the timer of a call that it keeps, as when it never
// heard that its write was done. Somebody notices.
func TestLostTimersAreFound(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		time.Sleep(2 * lookEvery)
		a := n1.connect(w.device(n1, alice))
		ok[protocol.CallInvited](a, invite("c1", bob))
		ok[protocol.CallInvited](a, invite("c2", "+14155550177"))
		for _, id := range []string{"c1", "c2"} {
			n1.server.calls.timers.lose(id)
		}
		reasons := map[string]protocol.Reason{}
		for end := time.Now().Add(2 * searchEvery); time.Now().Before(end) && len(reasons) < 2; time.Sleep(time.Minute) {
			for _, id := range []string{"c1", "c2"} {
				if r, _, _, err := n2.server.calls.load(t.Context(), id); err == nil && r.State == protocol.Ended {
					reasons[id] = r.Reason
				}
			}
		}
		for _, id := range []string{"c1", "c2"} {
			if reasons[id] != protocol.ReasonUnreachable {
				t.Errorf("%s ended by %q", id, reasons[id])
			}
		}
	})
}

// lose forgets the timers of a call.
func (t *timers) lose(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.running[id].timers {
		r.timer.Stop()
	}
	delete(t.running, id)
}

// What a node had done at the end before it died is not done twice.
func TestWhatWasDoneAtTheEndIsNotDoneAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		time.Sleep(2 * lookEvery)
		ta := w.device(n1, alice)
		a := n1.connect(ta)
		ok[protocol.CallInvited](a, invite("c1", bob))
		ok[protocol.CallReply](a, &protocol.CallCancel{Call: "c1"})
		history(t, a)
		n1.crash()
		time.Sleep(10 * time.Second)
		b := n2.connect(ta)
		history(t, b)
		nothing[*protocol.MailboxItem](b)
		if got := strings.Count(w.logs.String(), `"msg":"call ended"`); got != 1 {
			t.Errorf("its end is counted %d times", got)
		}
	})
}

// What is known of a call's timers is not replaced by what was known before.
func TestOldTimersDoNotReplaceNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fired := make(chan call.Timer, 8)
		k := timers{fire: func(_ string, name call.Timer) { fired <- name }}
		at := time.Now().Add(time.Second)
		k.keep("c1", 5, []call.Due{{Timer: call.TimerConnect, At: at}})
		k.keep("c1", 4, []call.Due{{Timer: call.TimerRing, At: at}})
		time.Sleep(2 * time.Second)
		if got := <-fired; got != call.TimerConnect || len(fired) > 0 {
			t.Errorf("fired %v and %d more", got, len(fired))
		}
		k.keep("c1", 6, []call.Due{{Timer: call.TimerReconnect, At: time.Now().Add(time.Second)}})
		k.keep("c1", 7, nil)
		if n := k.len(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
	})
}
