package client

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/protocol"
)

type invited struct {
	k   *Call
	r   InviteReply
	err error
}

// invite calls a number and returns the frame with which the client did it.
func invite(t *testing.T, c *Client, p *peer, id string) (protocol.Frame, <-chan invited) {
	t.Helper()
	done := make(chan invited, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		k, r, err := c.Invite(ctx, id, "+14155550102", []protocol.Media{protocol.Audio}, "v=0")
		done <- invited{k, r, err}
	}()
	return p.next(protocol.TypeCallInvite), done
}

// When both sides call at once, the surviving call is told once, as merged,
// in whatever order the server's frames come.
func TestGlare(t *testing.T) {
	ring := func(p *peer, s uint64, merged bool) {
		m := incoming("theirs")
		m.Merged = merged
		p.tell(s, m)
	}
	merge := func(t *testing.T, p *peer, re string) {
		p.ok(re, &protocol.CallInvited{Call: "ours", To: number(t, "+14155550102"), State: protocol.Ringing, Merged: "theirs"})
	}
	for name, frames := range map[string]func(t *testing.T, p *peer, re string){
		"reply, ring":             func(t *testing.T, p *peer, re string) { merge(t, p, re); ring(p, 1, true) },
		"ring, reply":             func(t *testing.T, p *peer, re string) { ring(p, 1, true); merge(t, p, re) },
		"plain ring, reply":       func(t *testing.T, p *peer, re string) { ring(p, 1, false); merge(t, p, re) },
		"plain ring, ring, reply": func(t *testing.T, p *peer, re string) { ring(p, 1, false); ring(p, 2, true); merge(t, p, re) },
		"plain ring, reply, ring": func(t *testing.T, p *peer, re string) { ring(p, 1, false); merge(t, p, re); ring(p, 2, true) },
		"reply, plain ring, ring": func(t *testing.T, p *peer, re string) { merge(t, p, re); ring(p, 1, false); ring(p, 2, true) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				c, p := dial(t, s)
				f, done := invite(t, c, p, "ours")
				frames(t, p, f.ID)
				r := <-done
				if r.err != nil || r.r.Merged != "theirs" {
					t.Fatalf("%+v", r)
				}
				e := wantEvent[Incoming](t, c)
				if !e.Merged || e.Call.ID != "theirs" || e.Call.Offer() == "" {
					t.Errorf("%+v", e)
				}
				noEvent[Incoming](t, c)
				if _, err := r.k.Next(t.Context()); !errors.Is(err, ErrCallOver) {
					t.Errorf("the own call: %v", err)
				}
			})
		})
	}
}

// A call that rings while an invite waits is told once that is answered,
// unless it is over by then.
func TestRingWhileInviting(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		f, done := invite(t, c, p, "ours")
		p.tell(1, incoming("short"))
		p.tell(2, incoming("other"))
		p.tell(3, &protocol.CallEnded{Call: "short", Reason: protocol.ReasonCanceled})
		noEvent[Incoming](t, c)
		p.ok(f.ID, &protocol.CallInvited{Call: "ours", To: number(t, "+14155550102"), State: protocol.Trying})
		if r := <-done; r.err != nil || r.r.Merged != "" {
			t.Fatalf("%+v", r)
		}
		if e := wantEvent[Incoming](t, c); e.Merged || e.Call.ID != "other" {
			t.Errorf("%+v", e)
		}
		noEvent[Incoming](t, c)
	})
}

// A call that nobody waits for any more must not go on ringing.
func TestInviteGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		_, done := invite(t, c, p, "c1")
		p.tell(1, incoming("c2"))
		p.stays(s, 59*time.Second)
		r := <-done // after a minute
		if !errors.Is(r.err, context.DeadlineExceeded) {
			t.Errorf("%+v", r)
		}
		if f := p.next(protocol.TypeCallHangup); string(f.D) != `{"call":"c1"}` {
			t.Errorf("hung up %s", f.D)
		}
		wantEvent[Incoming](t, c) // what was held back
		// A refusal is final: there is nothing to hang up.
		f, done := invite(t, c, p, "c3")
		p.refuse(f.ID, protocol.NewError(protocol.CodeSelf, "own number"))
		if r := <-done; protocol.CodeOf(r.err) != protocol.CodeSelf {
			t.Errorf("%+v", r)
		}
		synctest.Wait()
		for len(p.frames) > 0 {
			if f := <-p.frames; f.T == protocol.TypeCallHangup {
				t.Errorf("hung up %s", f.D)
			}
		}
	})
}

// A caller that comes back by state hears once that it rings.
func TestRingingByState(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		f, done := invite(t, c, p, "c1")
		p.ok(f.ID, &protocol.CallInvited{Call: "c1", To: number(t, "+14155550102"), State: protocol.Trying})
		k := (<-done).k
		p.ws.Close()
		p = s.accept()
		p.welcome(protocol.Welcome{Session: "s2", Resumed: protocol.ResumedState, Calls: []protocol.CallSnapshot{
			{Call: "c1", State: protocol.Ringing, Role: protocol.Caller, RingMS: 45000},
		}})
		p.tell(1, &protocol.CallRinging{Call: "c1"})
		p.tell(2, &protocol.CallAnswered{Call: "c1", SDP: "v=0"})
		var got []CallEvent
		for len(got) < 3 {
			e, err := k.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if got[0] != (Ringing{}) || got[1] != (State{protocol.CallState{Call: "c1", State: protocol.Ringing}}) || got[2] != (Answered{"v=0"}) {
			t.Errorf("%+v", got)
		}
	})
}

// An invite that was not answered is sent again and its call not given up,
// although the server does not know it.
func TestInviteSurvivesACut(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		first, done := invite(t, c, p, "c1")
		p.ws.Close()
		p = s.accept()
		p.welcome(protocol.Welcome{Session: "s2", Resumed: protocol.ResumedState})
		again := p.next(protocol.TypeCallInvite)
		if string(again.D) != string(first.D) {
			t.Errorf("sent %s and then %s", first.D, again.D)
		}
		p.ok(again.ID, &protocol.CallInvited{Call: "c1", To: number(t, "+14155550102"), State: protocol.Trying})
		r := <-done
		if r.err != nil {
			t.Fatal(r.err)
		}
		p.tell(1, &protocol.CallRinging{Call: "c1"})
		if e, err := r.k.Next(t.Context()); e != (Ringing{}) {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

// Candidates and descriptions leave in the order of their numbers, whoever
// sends them, and keep them after a refusal.
func TestNumbersInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		p.tell(1, incoming("c1"))
		k := wantEvent[Incoming](t, c).Call
		const many = 40
		done := make(chan error, many)
		for range many {
			go func() {
				done <- k.SendCandidates(t.Context(), "g", []protocol.Candidate{{Candidate: "candidate:1"}}, false)
			}()
		}
		for want := 1; want <= many; want++ {
			f := p.next(protocol.TypeCallCandidates)
			var m protocol.CallCandidates
			if err := json.Unmarshal(f.D, &m); err != nil || m.N != want {
				t.Fatalf("number %d, want %d (%v)", m.N, want, err)
			}
			p.ok(f.ID, nil)
		}
		for range many {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		go func() { done <- k.SendCandidates(t.Context(), "g2", nil, true) }()
		p.refuse(p.next(protocol.TypeCallCandidates).ID, protocol.NewError(protocol.CodeUnavailable, "away"))
		f := p.next(protocol.TypeCallCandidates)
		if string(f.D) != `{"call":"c1","gen":"g2","n":1,"end":true}` {
			t.Errorf("again: %s", f.D)
		}
		p.ok(f.ID, nil)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Who gives an invite up while it is merged into the other side's call is not put
// through to it.
func TestGivenUpWhileItIsMerged(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, _, err := c.Invite(ctx, "c1", "+14155550102", []protocol.Media{protocol.Audio}, "v=0")
			gone <- err
		}()
		f := p.next(protocol.TypeCallInvite)
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		p.next(protocol.TypeCallHangup)
		p.ok(f.ID, &protocol.CallInvited{Call: "c1", To: number(t, "+14155550102"), State: protocol.Trying, Merged: "c9"})
		p.tell(1, &protocol.CallIncoming{Call: "c9", From: number(t, "+14155550102"), Media: []protocol.Media{protocol.Audio}, SDP: "v=0", RingMS: 45_000, Merged: true})
		if f := p.next(protocol.TypeCallHangup); string(f.D) != `{"call":"c9"}` {
			t.Errorf("hung up %s", f.D)
		}
		synctest.Wait()
		select {
		case e := <-c.Events():
			t.Errorf("told of %+v", e)
		default:
		}
	})
}
