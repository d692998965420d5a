package plain_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"switchboard/cmd/internal/ledger"
	"switchboard/cmd/switchboard/internal/plain"
)

const annNumber, bobNumber = "+14155550171", "+14155550172"

// secretWord is in every text, and must be in no log.
const secretWord = "between you and me"

// TestCalls plays calls on one node with NATS inside.
func TestCalls(t *testing.T) {
	n := house(t, 0, 1).Nodes[0]
	ann := register(t, n, annNumber, nil, n.URL)
	bob := register(t, n, bobNumber, nil, n.URL)
	bob2 := register(t, n, bobNumber, nil, n.URL)

	connect("first", ann, bob)
	bob2.hear("call.ended", "call", "first", "reason", "answered_elsewhere")
	refused(bob2, "call.answer", d{"call": "first", "sdp": sdp("late")}, "call_ended")
	ann.do("call.candidates", d{"call": "first", "gen": "caller", "n": 1, "end": true, "candidates": []d{{"candidate": "candidate:1 1 udp 2130706431 192.0.2.1 40000 typ relay raddr 0.0.0.0 rport 0", "mid": "0"}}})
	bob.hear("call.candidates", "call", "first", "gen", "caller")
	ann.do("call.describe", d{"call": "first", "n": 1, "kind": "offer", "sdp": sdp("again"), "restart": true})
	bob.hear("call.describe", "call", "first", "kind", "offer")
	bob.do("call.describe", d{"call": "first", "n": 1, "kind": "answer", "sdp": sdp("back")})
	ann.hear("call.describe", "call", "first", "kind", "answer")

	bob.Cut()
	bob.hear("welcome", "resumed", "full")

	// A hang-up that is made without a network is brought when there is one.
	ann.Offline(true)
	gone := make(chan error, 1)
	go func() {
		ctx, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		gone <- ann.Do(ctx, "call.hangup", d{"call": "first"}, nil)
	}()
	for late := time.Now().Add(patience); ann.Pending() == 0; runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatal("the hang-up was not begun")
		}
	}
	ann.Offline(false)
	bob.hear("call.ended", "call", "first", "reason", "hangup")
	if err := <-gone; err != nil {
		t.Error("hang-up:", err)
	}

	// Media is set up while it rings; another device answers; the callee declines.
	ann.do("call.invite", d{"call": "second", "to": bobNumber, "media": []string{"audio", "video"}, "sdp": sdp("caller")})
	bob.hear("call.incoming", "call", "second")
	bob2.hear("call.incoming", "call", "second")
	if ok := bob.do("call.prepare", d{"call": "second", "sdp": sdp("callee")}); ok["prepared"] != true {
		t.Errorf("the first that prepared was answered %v", ok)
	}
	if ok := bob2.do("call.prepare", d{"call": "second", "sdp": sdp("other")}); ok["prepared"] == true {
		t.Errorf("the second that prepared was answered %v", ok)
	}
	ann.hear("call.prepared", "call", "second")
	if snap := ann.do("call.sync", d{"call": "second"}); snap["kind"] != "pranswer" || snap["role"] != "caller" || snap["peer"] != bobNumber {
		t.Errorf("snapshot: %v", snap)
	}
	bob2.do("call.busy", d{"call": "second"})
	bob.do("call.reject", d{"call": "second"})
	ann.hear("call.ended", "call", "second", "reason", "declined")

	// The caller gives up; who is asked to say that he is there does, and types.
	ann.do("call.invite", d{"call": "third", "to": bobNumber, "media": []string{"audio"}, "sdp": sdp("caller")})
	bob.hear("call.incoming", "call", "third")
	ann.do("call.cancel", d{"call": "third"})
	bob.hear("call.ended", "call", "third", "reason", "canceled")
	refused(bob, "call.answer", d{"call": "third", "sdp": sdp("late")}, "call_ended")
	refused(ann, "call.answer", d{"call": "none", "sdp": sdp("late")}, "call_unknown")
	refused(ann, "no.such", d{}, "unsupported")
	refused(ann, "call.invite", d{"call": "self", "to": annNumber, "media": []string{"audio"}, "sdp": "v=0"}, "self")
	ann.do("contacts.sync", d{"numbers": []string{bobNumber}})
	bob.do("contacts.sync", d{"numbers": []string{annNumber}})
	if all, _ := ann.do("presence.subscribe", d{"numbers": []string{bobNumber}})["presences"].([]any); len(all) != 1 || all[0].(d)["online"] != true {
		t.Errorf("presences: %v", all)
	}
	ann.do("typing", d{"to": bobNumber})
	bob.hear("typing", "from", annNumber)

	// Glare: one call survives, on both sides.
	var both sync.WaitGroup
	var merged [2]any
	for i, p := range []*phone{ann, bob} {
		to := []*phone{bob, ann}[i].Number
		both.Go(func() {
			ctx, stop := context.WithTimeout(context.Background(), patience)
			defer stop()
			var ok d
			if err := p.Do(ctx, "call.invite", d{"call": fmt.Sprint("glare", i), "to": to, "media": []string{"audio"}, "sdp": sdp("glare")}, &ok); err != nil {
				t.Error(err)
			}
			merged[i] = ok["merged"]
		})
	}
	both.Wait()
	switch {
	case merged[0] == nil && merged[1] == "glare0":
		bob.hear("call.incoming", "call", "glare0", "merged", "true")
		bob.do("call.answer", d{"call": "glare0", "sdp": sdp("polite")})
		ann.hear("call.answered", "call", "glare0")
	case merged[1] == nil && merged[0] == "glare1":
		ann.hear("call.incoming", "call", "glare1", "merged", "true")
		ann.do("call.answer", d{"call": "glare1", "sdp": sdp("polite")})
		bob.hear("call.answered", "call", "glare1")
	default:
		t.Errorf("merged into %v", merged)
	}
}

// TestNodeDies has a call and texts outlive cut connections and a killed node.
func TestNodeDies(t *testing.T) {
	f := house(t, 1, 2)
	one, two := f.Nodes[0], f.Nodes[1]
	l := ledger.New()
	a, b := ledger.Device{Account: annNumber, Name: "1"}, ledger.Device{Account: bobNumber, Name: "1"}
	l.Add(a)
	l.Add(b)
	show := func(d ledger.Device) func(plain.Item) {
		return func(it plain.Item) {
			if it.Kind == "message" {
				l.Shown(d, ledger.Item{Seq: it.Seq, ID: it.ID, From: it.From, To: it.To, Type: it.Type, Body: it.Body})
			}
		}
	}
	ann := register(t, one, annNumber, show(a), one.URL, two.URL)
	bob := register(t, two, bobNumber, show(b), two.URL, one.URL)
	connect("long", ann, bob)

	for i := range 30 {
		from, to, dev := ann, bob, a
		if i%2 == 1 {
			from, to, dev = bob, ann, b
		}
		if i%5 == 0 {
			to.Cut()
		}
		if i%7 == 0 {
			from.Cut()
		}
		if i == 15 {
			if err := one.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		id, body := fmt.Sprint("text-", i), fmt.Sprint(secretWord, " ", i)
		l.Begin(ledger.Text{ID: id, From: dev, To: to.Number, Type: "text/plain", Body: body})
		from.do("message.send", d{"id": id, "to": to.Number, "type": "text/plain", "body": body})
		l.Stored(dev.Account, id)
	}
	w := ann.hear("welcome", "resumed", "state")
	if calls, _ := w["calls"].([]any); len(calls) != 1 || calls[0].(d)["call"] != "long" {
		t.Errorf("after the node's death welcome has the calls %v", w["calls"])
	}
	ann.until("every text", func() bool { return count(ann, "message") == 15 })
	bob.until("every text", func() bool { return count(bob, "message") == 15 })
	ann.until("delivered", func() bool { return count(ann, "delivered") > 0 })
	if r := l.Check(); !r.OK() {
		t.Error(r)
	}
	bob.do("message.read", d{"to": annNumber, "id": "text-28"})
	ann.until("read", func() bool { return count(ann, "read") > 0 })
	ann.do("call.hangup", d{"call": "long"})
	bob.hear("call.ended", "call", "long", "reason", "hangup")
}

// refused sends an intent that must be refused with a code.
func refused(p *phone, typ string, in d, code string) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.t.Context(), patience)
	defer stop()
	var e *plain.Error
	if err := p.Do(ctx, typ, in, nil); !errors.As(err, &e) || e.Code != code {
		p.t.Errorf("%s: %v, want %s", typ, err, code)
	}
}

func count(p *phone, kind string) (n int) {
	for _, it := range p.items {
		if it.Kind == kind {
			n++
		}
	}
	return n
}
