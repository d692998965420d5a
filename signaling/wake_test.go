package signaling

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/protocol"
	"switchboard/signaling/push"
)

// pushes notes what would be queued.
type pushes struct {
	mu   sync.Mutex
	put  []string // token: reason, call
	fail error
}

func (p *pushes) PublicKey() string      { return "a key" }
func (p *pushes) Takes(k push.Kind) bool { return k == push.Webhook }

func (p *pushes) Put(_ context.Context, d push.Device, t push.Target, w push.Wake) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	if w.Reason != push.Message && !w.Expires.After(time.Now()) {
		return errors.New("of no use any more")
	}
	p.put = append(p.put, strings.TrimSpace(fmt.Sprint(t.Token, ": ", w.Reason, " ", w.Call)))
	return nil
}

// want takes what has been put by the time everything rests.
func (p *pushes) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if got := strings.Join(p.put, "; "); got != strings.Join(want, "; ") {
		t.Errorf("pushes: %q, want %q", got, want)
	}
	p.put = nil
}

// sleeper registers a device that is woken by a token, and does not connect.
func sleeper(w *world, n *node, number, token string) (its string) {
	w.t.Helper()
	its = w.device(n, number)
	p := n.connect(its)
	ok[struct{}](p, &protocol.PushSet{Target: &protocol.PushTarget{Kind: protocol.PushWebhook, Token: token}})
	p.send(protocol.Frame{}, &protocol.Bye{})
	p.closedWith()
	synctest.Wait()
	return its
}

func inSleepyWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	inWorld(t, func(t *testing.T, w *world) {
		w.pushes = &pushes{}
		f(t, w)
	})
}

func TestTextWakes(t *testing.T) {
	inSleepyWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		sleeper(w, n2, alice, "alice2")
		a := n1.connect(w.device(n1, alice))
		b := sleeper(w, n2, bob, "bob1")
		w.device(n1, bob) // cannot be woken
		send(t, a, "m1", bob)
		w.pushes.want(t, "bob1: message") // and not alice2, for which it is no news
		awake := n1.connect(b)
		item(awake, protocol.KindMessage)
		send(t, a, "m2", bob)
		w.pushes.want(t)
		ok[struct{}](awake, &protocol.BlockAdd{Number: alice})
		awake.send(protocol.Frame{}, &protocol.Bye{})
		awake.closedWith()
		send(t, a, "m3", bob)
		w.pushes.want(t)
	})
}

// A text is stored and answered, whatever becomes of the push.
func TestTextOutlivesPushes(t *testing.T) {
	inSleepyWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		sleeper(w, n, bob, "bob1")
		w.pushes.fail = push.ErrUnavailable
		send(t, a, "m1", bob)
		if !strings.Contains(w.logs.String(), "push not queued") {
			t.Error("the log does not tell")
		}
	})
}

func TestCallWakes(t *testing.T) {
	inSleepyWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a := n1.connect(w.device(n1, alice))
		b := sleeper(w, n2, bob, "bob1")
		sleeper(w, n2, bob, "bob2")
		ok[protocol.CallInvited](a, invite("c1", bob))
		w.pushes.want(t, "bob1: ring c1", "bob2: ring c1")
		time.Sleep(20 * time.Second)
		nothing[*protocol.CallEnded](a)
		awake := n2.connect(b)
		if in := expect[*protocol.CallIncoming](awake); in.Call != "c1" {
			t.Fatalf("rung for %s", in.Call)
		}
		awake.send(protocol.Frame{}, &protocol.CallRinging{Call: "c1"})
		expect[*protocol.CallRinging](a)
		w.pushes.want(t)
		ok[protocol.CallReply](awake, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		expect[*protocol.CallAnswered](a)
		w.pushes.want(t, "bob2: stop c1")
		ok[protocol.CallReply](a, &protocol.CallHangup{Call: "c1"})
		expect[*protocol.CallEnded](awake)
		w.pushes.want(t)
	})
}

func TestCallThatWakesNobody(t *testing.T) {
	inSleepyWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		sleeper(w, n, bob, "bob1")
		ok[protocol.CallInvited](a, invite("c1", bob))
		began := time.Now()
		wantEnded(t, a, protocol.ReasonUnreachable)
		if took := time.Since(began); took != 25*time.Second {
			t.Errorf("gave up after %v", took)
		}
		w.pushes.want(t, "bob1: ring c1", "bob1: stop c1")
		ok[protocol.CallInvited](a, invite("c2", bob))
		ok[protocol.CallReply](a, &protocol.CallCancel{Call: "c2"})
		w.pushes.want(t, "bob1: ring c2", "bob1: stop c2")
	})
}

// A device whose connection has been gone for a while is woken by its own node, for
// what it may have missed and for what comes.
func TestSilentDeviceIsWoken(t *testing.T) {
	inSleepyWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a := n1.connect(w.device(n1, alice))
		token := sleeper(w, n2, bob, "bob1")
		b := n2.connect(token)
		send(t, a, "m1", bob)
		item(b, protocol.KindMessage) // and not acknowledged
		ok[protocol.CallInvited](a, invite("c1", bob))
		expect[*protocol.CallIncoming](b)
		b.cut()
		w.pushes.want(t)
		time.Sleep(restAfter - time.Millisecond)
		w.pushes.want(t)
		time.Sleep(time.Millisecond)
		w.pushes.want(t, "bob1: message", "bob1: ring c1")
		ok[protocol.CallReply](a, &protocol.CallCancel{Call: "c1"})
		w.pushes.want(t, "bob1: stop c1")
		send(t, a, "m2", bob)
		w.pushes.want(t, "bob1: message")
		ok[protocol.CallInvited](a, invite("c2", bob))
		w.pushes.want(t, "bob1: ring c2")

		// Back within the time: it is told on its connection.
		again := n2.hello(&protocol.Hello{Token: token, Resume: &protocol.Resume{Session: b.welcome.Session, Key: b.welcome.Key, S: b.lastS}})
		if again.welcome.Resumed != protocol.ResumedFull {
			t.Fatalf("resumed %s", again.welcome.Resumed)
		}
		ok[protocol.CallReply](a, &protocol.CallCancel{Call: "c2"})
		expect[*protocol.CallEnded](again)
		send(t, a, "m3", bob)
		w.pushes.want(t)

		// A short interruption wakes nobody.
		ok[struct{}](again, &protocol.MailboxAck{Seq: 1 << 40})
		again.cut()
		time.Sleep(time.Second)
		third := n2.hello(&protocol.Hello{Token: token, Resume: &protocol.Resume{Session: again.welcome.Session, Key: again.welcome.Key, S: again.lastS}})
		time.Sleep(restAfter)
		w.pushes.want(t)
		third.cut()
	})
}

// A call that rang on a device whose session has ended since rings no longer there.
func TestStopReachesWhoHasGone(t *testing.T) {
	inSleepyWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		b := n.connect(sleeper(w, n, bob, "bob1"))
		ringing(t, a, b, "c1", bob)
		b.send(protocol.Frame{}, &protocol.Bye{})
		b.closedWith()
		w.pushes.want(t)
		ok[protocol.CallReply](a, &protocol.CallCancel{Call: "c1"})
		w.pushes.want(t, "bob1: stop c1")
	})
}

// A device that was thought to be on a node that does not answer is woken when it
// turns out to be nowhere.
func TestDeviceOfALostNodeIsWoken(t *testing.T) {
	inSleepyWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a := n1.connect(w.device(n1, alice))
		b := n2.connect(sleeper(w, n2, bob, "bob1"))
		n1.unheard.Store(2)
		send(t, a, "m1", bob)
		b.send(protocol.Frame{}, &protocol.Bye{})
		b.closedWith()
		time.Sleep(5 * time.Second)
		w.pushes.want(t, "bob1: message")
	})
}

func TestPushSet(t *testing.T) {
	inSleepyWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		if ways := b.welcome.Push; ways == nil || ways.VAPID != "a key" || !ways.Webhook {
			t.Errorf("ways = %+v", ways)
		}
		for name, c := range map[string]struct {
			target protocol.PushTarget
			code   protocol.Code
			field  string
		}{
			"a way that is off":  {protocol.PushTarget{Kind: protocol.PushWeb, Endpoint: "https://push.example/1"}, protocol.CodeUnsupported, ""},
			"no such way":        {protocol.PushTarget{Kind: "smoke"}, protocol.CodeInvalid, "target.kind"},
			"without a token":    {protocol.PushTarget{Kind: protocol.PushWebhook}, protocol.CodeInvalid, "target.token"},
			"too long an adress": {protocol.PushTarget{Kind: protocol.PushWebhook, Token: strings.Repeat("x", 5000)}, protocol.CodeInvalid, "target.token"},
		} {
			if e := b.refused(&protocol.PushSet{Target: &c.target}); e.Code != c.code || !strings.Contains(e.Message, c.field) {
				t.Errorf("%s: %+v", name, e)
			}
		}
		set := func(target *protocol.PushTarget) {
			ok[struct{}](b, &protocol.PushSet{Target: target})
		}
		set(&protocol.PushTarget{Kind: protocol.PushWebhook, Token: "one"})
		set(&protocol.PushTarget{Kind: protocol.PushWebhook, Token: "two"})
		b.cut()
		time.Sleep(time.Minute)
		send(t, a, "m1", bob)
		w.pushes.want(t, "two: message")
		b = n.connect(w.tokenOf(bob))
		set(nil)
		b.cut()
		time.Sleep(time.Minute)
		send(t, a, "m2", bob)
		w.pushes.want(t)
	})
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		if a.welcome.Push != nil {
			t.Errorf("ways = %+v", a.welcome.Push)
		}
		if e := a.refused(&protocol.PushSet{Target: &protocol.PushTarget{Kind: protocol.PushWebhook, Token: "x"}}); e.Code != protocol.CodeUnsupported {
			t.Errorf("without pushes: %+v", e)
		}
	})
}

// tokenOf returns a token of whoever has a number.
func (w *world) tokenOf(number string) string {
	for token, id := range w.tokens {
		if id.Number.E164() == number {
			return token
		}
	}
	return ""
}
