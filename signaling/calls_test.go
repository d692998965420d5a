package signaling

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/callstore"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/protocol"
)

const (
	alice = "+14155550101"
	bob   = "+14155550102"
	carol = "+14155550103"

	offerSDP  = "v=0 offer\na=ice-ufrag:caller"
	answerSDP = "v=0 answer\na=ice-ufrag:callee"
)

func invite(id, to string) *protocol.CallInvite {
	return &protocol.CallInvite{Call: id, To: to, Media: []protocol.Media{protocol.Audio}, SDP: offerSDP}
}

// ringing begins a call from a to b's number and has b ring.
func ringing(t *testing.T, a, b *phone, id, to string) *protocol.CallIncoming {
	t.Helper()
	if got := ok[protocol.CallInvited](a, invite(id, to)); got.State != protocol.Trying || got.To.E164() != to {
		t.Fatalf("invited = %+v", got)
	}
	in := expect[*protocol.CallIncoming](b)
	b.send(protocol.Frame{}, &protocol.CallRinging{Call: id})
	expect[*protocol.CallRinging](a)
	return in
}

// talking answers it and brings media up.
func talking(t *testing.T, a, b *phone, id, to string) {
	t.Helper()
	ringing(t, a, b, id, to)
	if r := ok[protocol.CallReply](b, &protocol.CallAnswer{Call: id, SDP: answerSDP}); r.State != protocol.Connecting {
		t.Fatalf("state after answer = %s", r.State)
	}
	if got := expect[*protocol.CallAnswered](a); got.SDP != answerSDP {
		t.Fatalf("answer = %q", got.SDP)
	}
	for _, p := range []*phone{a, b} {
		p.send(protocol.Frame{}, &protocol.CallReport{Call: id, Media: protocol.MediaConnected,
			Path: &protocol.Path{Local: "host", Remote: "host", Protocol: "udp"}})
	}
	for _, p := range []*phone{a, b} {
		if s := expect[*protocol.CallState](p); s.State != protocol.Active {
			t.Fatalf("state = %s, want active", s.State)
		}
	}
}

func wantEnded(t *testing.T, p *phone, why protocol.Reason) *protocol.CallEnded {
	t.Helper()
	got := expect[*protocol.CallEnded](p)
	if got.Reason != why {
		t.Fatalf("ended = %s, want %s", got.Reason, why)
	}
	return got
}

// history returns the call in the next item of the mailbox that is one.
func history(t *testing.T, p *phone) *protocol.MailboxItem {
	t.Helper()
	for {
		if it := expect[*protocol.MailboxItem](p); it.Kind == protocol.KindCall {
			return it
		}
	}
}

func TestCall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))

		talking(t, a, b, "c1", bob)
		time.Sleep(90 * time.Second)
		ok[protocol.CallReply](a, &protocol.CallHangup{Call: "c1"})
		if e := wantEnded(t, a, protocol.ReasonHangup); !e.Mine || e.DurationMS != 90_000 {
			t.Errorf("caller was told %+v", e)
		}
		if e := wantEnded(t, b, protocol.ReasonHangup); e.Mine {
			t.Errorf("callee was told %+v", e)
		}
		for _, p := range []*phone{a, b} {
			it := history(t, p)
			if !it.Call.Answered || it.Call.DurationMS != 90_000 || it.From.E164() != alice {
				t.Errorf("history has %+v of %+v", it, it.Call)
			}
		}
		// A hang-up may be repeated, also after the record has gone.
		ok[protocol.CallReply](a, &protocol.CallHangup{Call: "c1"})
		time.Sleep(5 * time.Minute)
		ok[protocol.CallReply](a, &protocol.CallHangup{Call: "c1"})
		nothing[*protocol.CallEnded](a)
		if left := n.server.calls.timers.len(); left != 0 {
			t.Errorf("%d timers are left", left)
		}
	})
}

func TestCallCarriesDescriptionsAndCandidates(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		knows(t, a, bob)
		knows(t, b, alice)
		in := ringing(t, a, b, "c1", bob)
		if in.SDP != offerSDP || in.From.E164() != alice || in.RingMS != 45_000 || in.ICE.Servers[0].Username != "c1" {
			t.Errorf("incoming = %+v", in)
		}
		batch := &protocol.CallCandidates{Call: "c1", Gen: "caller", N: 1, Candidates: []protocol.Candidate{{Candidate: "candidate:1"}}}
		a.send(protocol.Frame{}, batch)
		if got := expect[*protocol.CallCandidates](b); got.N != 1 || len(got.Candidates) != 1 {
			t.Errorf("candidates = %+v", got)
		}
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		b.send(protocol.Frame{}, &protocol.CallCandidates{Call: "c1", Gen: "callee", N: 1, End: true})
		if got := expect[*protocol.CallCandidates](a); !got.End {
			t.Errorf("candidates = %+v", got)
		}
		ok[protocol.CallReply](a, &protocol.CallDescribe{Call: "c1", N: 1, Kind: "offer", SDP: "v=0 again\na=ice-ufrag:two", Restart: true})
		if got := expect[*protocol.CallDescribe](b); !got.Restart || got.Kind != "offer" {
			t.Errorf("description = %+v", got)
		}
		ok[protocol.CallReply](b, &protocol.CallDescribe{Call: "c1", N: 1, Kind: "answer", SDP: "v=0 too"})
		expect[*protocol.CallDescribe](a)

		snap := ok[protocol.CallSnapshot](b, &protocol.CallSync{Call: "c1"})
		if snap.Role != protocol.Callee || snap.Kind != "offer" || snap.N != 1 || snap.Sent != 1 || snap.Peer.E164() != alice {
			t.Errorf("snapshot = %+v", snap)
		}
	})
}

func TestForkAndAnsweredElsewhere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		b1, b2 := n.connect(w.device(n, bob)), n.connect(w.device(n, bob))
		ok[protocol.CallInvited](a, invite("c1", bob))
		for _, p := range []*phone{b1, b2} {
			expect[*protocol.CallIncoming](p)
		}
		ok[protocol.CallReply](b2, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		wantEnded(t, b1, protocol.ReasonAnsweredElsewhere)
		e := b1.refused(&protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		if e.Code != protocol.CodeCallEnded || e.Info["reason"] != "answered_elsewhere" {
			t.Errorf("a late answer was refused with %+v", e)
		}
		// The loser's hang-up does not reach the call.
		ok[protocol.CallReply](b1, &protocol.CallHangup{Call: "c1"})
		nothing[*protocol.CallEnded](a)
		ok[protocol.CallReply](b2, &protocol.CallHangup{Call: "c1"})
		wantEnded(t, a, protocol.ReasonHangup)
		nothing[*protocol.CallEnded](b1)
	})
}

func TestDeclineBusyAndCancel(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		b1, b2 := n.connect(w.device(n, bob)), n.connect(w.device(n, bob))

		ok[protocol.CallInvited](a, invite("decline", bob))
		ok[protocol.CallReply](b1, &protocol.CallReject{Call: "decline"})
		wantEnded(t, a, protocol.ReasonDeclined)
		wantEnded(t, b1, protocol.ReasonDeclined)
		wantEnded(t, b2, protocol.ReasonDeclinedElsewhere)

		ok[protocol.CallInvited](a, invite("busy", bob))
		ok[protocol.CallReply](b1, &protocol.CallBusy{Call: "busy"})
		nothing[*protocol.CallEnded](a)
		ok[protocol.CallReply](b2, &protocol.CallBusy{Call: "busy"})
		wantEnded(t, a, protocol.ReasonBusy)

		ok[protocol.CallInvited](a, invite("cancel", bob))
		if e := b1.refused(&protocol.CallCancel{Call: "cancel"}); e.Code != protocol.CodeCallUnknown {
			t.Errorf("the callee's cancel was refused with %s", e.Code)
		}
		ok[protocol.CallReply](a, &protocol.CallCancel{Call: "cancel"})
		for _, p := range []*phone{a, b1, b2} {
			for e := expect[*protocol.CallEnded](p); e.Call != "cancel"; {
				e = expect[*protocol.CallEnded](p)
			}
		}
	})
}

func TestNoAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		start := time.Now()
		ringing(t, a, b, "c1", bob)
		wantEnded(t, a, protocol.ReasonNoAnswer)
		if d := time.Since(start); d != 45*time.Second {
			t.Errorf("rang for %v, want 45s", d)
		}
		wantEnded(t, b, protocol.ReasonNoAnswer)
		if it := history(t, b); it.Call.Answered || it.Call.Reason != protocol.ReasonNoAnswer {
			t.Errorf("missed call in the history: %+v", it.Call)
		}
	})
}

// A number that nobody has cannot be told from one whose devices are away.
func TestUnreachable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		away := w.device(n, bob)
		for _, to := range []string{bob, carol} {
			start := time.Now()
			got := ok[protocol.CallInvited](a, invite("to-"+to[8:], to))
			if got.State != protocol.Trying {
				t.Errorf("invited = %+v", got)
			}
			wantEnded(t, a, protocol.ReasonUnreachable)
			if d := time.Since(start); d != 5*time.Second {
				t.Errorf("unreachable after %v, want 5s", d)
			}
			history(t, a)
		}
		if it := history(t, n.connect(away)); it.From.E164() != alice || it.Call.Answered {
			t.Errorf("missed call = %+v", it)
		}
	})
}

func TestDeviceThatConnectsIsRung(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		away := w.device(n, bob)
		ok[protocol.CallInvited](a, invite("c1", bob))
		a.send(protocol.Frame{}, &protocol.CallCandidates{Call: "c1", Gen: "caller", N: 1, End: true})
		time.Sleep(3 * time.Second)
		b := n.connect(away)
		if in := expect[*protocol.CallIncoming](b); in.AgeMS != 3000 {
			t.Errorf("age = %d ms", in.AgeMS)
		}
		expect[*protocol.CallCandidates](b)
		time.Sleep(10 * time.Second) // longer than it would wait for a device
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		expect[*protocol.CallAnswered](a)
	})
}

func TestInviteIsIdempotent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		c := n.connect(w.device(n, carol))
		ringing(t, a, b, "c1", bob)
		if got := ok[protocol.CallInvited](a, invite("c1", bob)); got.State != protocol.Ringing {
			t.Errorf("the repeated invite was answered %+v", got)
		}
		nothing[*protocol.CallIncoming](b)
		for _, m := range []*protocol.CallInvite{invite("c1", carol)} {
			if e := a.refused(m); e.Code != protocol.CodeConflict {
				t.Errorf("another invite under the same id was refused with %s", e.Code)
			}
		}
		if e := c.refused(invite("c1", bob)); e.Code != protocol.CodeConflict {
			t.Errorf("somebody else's invite was refused with %s", e.Code)
		}
		if e := c.refused(&protocol.CallHangup{Call: "c1"}); e.Code != protocol.CodeCallUnknown {
			t.Errorf("a stranger's hang-up was refused with %s", e.Code)
		}
		if e := c.refused(&protocol.CallSync{Call: "c1"}); e.Code != protocol.CodeCallUnknown {
			t.Errorf("a stranger's sync was refused with %s", e.Code)
		}
	})
}

func TestInviteRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		for name, c := range map[string]struct {
			to   string
			code protocol.Code
		}{
			"own number":  {"(415) 555-0101", protocol.CodeSelf},
			"no number":   {"hello", protocol.CodeNumber},
			"too short":   {"+1415", protocol.CodeNumber},
			"not in use":  {"+10005550102", protocol.CodeNumber},
			"no such num": {"", protocol.CodeInvalid},
		} {
			if e := a.refused(invite("c1", c.to)); e.Code != c.code {
				t.Errorf("%s: refused with %s, want %s", name, e.Code, c.code)
			}
		}
	})
}

func TestGlare(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a, b := n1.connect(w.device(n1, alice)), n2.connect(w.device(n2, bob))
		first := ok[protocol.CallInvited](a, invite("from-a", bob))
		second := ok[protocol.CallInvited](b, invite("from-b", alice))
		if first.Merged != "" || second.Merged != "from-a" {
			t.Fatalf("invites were answered %+v and %+v", first, second)
		}
		for in := expect[*protocol.CallIncoming](b); !in.Merged; {
			in = expect[*protocol.CallIncoming](b)
		}
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "from-a", SDP: answerSDP})
		expect[*protocol.CallAnswered](a)
		nothing[*protocol.CallIncoming](a)
		if e := b.refused(&protocol.CallSync{Call: "from-b"}); e.Code != protocol.CodeCallUnknown {
			t.Errorf("the merged call is still there: %s", e.Code)
		}
	})
}

// A device that lost its call and calls again gets through.
func TestCallAgainReplaces(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		ringing(t, a, b, "c1", bob)
		ok[protocol.CallInvited](a, invite("c2", bob))
		wantEnded(t, a, protocol.ReasonReplaced)
		wantEnded(t, b, protocol.ReasonReplaced)
		if in := expect[*protocol.CallIncoming](b); in.Call != "c2" {
			t.Errorf("rung for %s", in.Call)
		}
	})
}

func TestCallAcrossNodes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a, b := n1.connect(w.device(n1, alice)), n2.connect(w.device(n2, bob))
		talking(t, a, b, "c1", bob)
		ok[protocol.CallReply](b, &protocol.CallHangup{Call: "c1"})
		wantEnded(t, a, protocol.ReasonHangup)
	})
}

func TestMediaNeverConnects(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		ringing(t, a, b, "c1", bob)
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		start := time.Now()
		if s := expect[*protocol.CallState](a); !s.Restart || !s.RelayOnly {
			t.Errorf("the caller was told %+v", s)
		}
		if s := expect[*protocol.CallState](b); s.Restart || !s.RelayOnly {
			t.Errorf("the callee was told %+v", s)
		}
		wantEnded(t, a, protocol.ReasonICEFailed)
		if d := time.Since(start); d != 40*time.Second {
			t.Errorf("failed after %v, want 40s", d)
		}
	})
}

func TestMediaLostAndBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		talking(t, a, b, "c1", bob)
		a.send(protocol.Frame{}, &protocol.CallReport{Call: "c1", Media: protocol.MediaDisconnected})
		for _, p := range []*phone{a, b} {
			if s := expect[*protocol.CallState](p); s.State != protocol.Reconnecting {
				t.Errorf("state = %s", s.State)
			}
		}
		time.Sleep(59 * time.Second)
		a.send(protocol.Frame{}, &protocol.CallReport{Call: "c1", Media: protocol.MediaConnected})
		for _, p := range []*phone{a, b} {
			if s := expect[*protocol.CallState](p); s.State != protocol.Active {
				t.Errorf("state = %s", s.State)
			}
		}
		a.send(protocol.Frame{}, &protocol.CallReport{Call: "c1", Media: protocol.MediaFailed})
		wantEnded(t, b, protocol.ReasonConnectionLost)
	})
}

// The end of a connection never ends a call, and a device that comes back on
// another node finds the call as it is.
func TestCallOutlivesConnections(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		token := w.device(n1, alice)
		a, b := n1.connect(token), n1.connect(w.device(n1, bob))
		talking(t, a, b, "c1", bob)
		a.cut()
		time.Sleep(10 * time.Minute)
		nothing[*protocol.CallEnded](b)
		a = n2.connect(token)
		if len(a.welcome.Calls) != 1 {
			t.Fatalf("welcome has %d calls, want 1", len(a.welcome.Calls))
		}
		c := a.welcome.Calls[0]
		if c.Call != "c1" || c.State != protocol.Active || c.Role != protocol.Caller || c.SDP != answerSDP {
			t.Errorf("snapshot = %+v", c)
		}
		ok[protocol.CallReply](a, &protocol.CallHangup{Call: "c1"})
		wantEnded(t, b, protocol.ReasonHangup)
		synctest.Wait()
		if a = n2.connect(token); len(a.welcome.Calls) != 0 {
			t.Errorf("the call is over, but welcome has %+v", a.welcome.Calls)
		}
	})
}

// lostAnswers is a store whose next writes are done, but whose answers do not
// come.
type lostAnswers struct {
	*callstoretest.Fake
	lose int
}

func (l *lostAnswers) Save(ctx context.Context, key string, data []byte, rev uint64, ttl time.Duration) (uint64, error) {
	next, err := l.Fake.Save(ctx, key, data, rev, ttl)
	if l.lose > 0 && err == nil {
		l.lose--
		return 0, callstore.ErrUnavailable
	}
	return next, err
}

// What was stored is carried out, also when the store's answer did not come.
func TestLostAnswerOfTheStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		store := &lostAnswers{Fake: w.records}
		n.server.Records = store
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		ringing(t, a, b, "c1", bob)
		store.lose = 1
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		expect[*protocol.CallAnswered](a)
		store.lose = 1
		ok[protocol.CallReply](a, &protocol.CallHangup{Call: "c1"})
		wantEnded(t, a, protocol.ReasonHangup)
		wantEnded(t, b, protocol.ReasonHangup)
	})
}
