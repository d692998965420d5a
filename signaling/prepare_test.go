package signaling

import (
	"strings"
	"testing"
	"time"

	"switchboard/signaling/protocol"
)

func TestPreparedWhileItRings(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		a, b1, b2 := n1.connect(w.device(n1, alice)), n2.connect(w.device(n2, bob)), n1.connect(w.device(n1, bob))
		knows(t, a, bob)
		knows(t, b1, alice)
		ok[protocol.CallInvited](a, invite("c1", bob))
		for _, p := range []*phone{b1, b2} {
			expect[*protocol.CallIncoming](p)
		}
		b1.send(protocol.Frame{}, &protocol.CallRinging{Call: "c1", Waiting: true})
		if got := expect[*protocol.CallRinging](a); !got.Waiting {
			t.Error("the caller was not told of the other call")
		}
		if got := ok[protocol.CallPreparing](b1, &protocol.CallPrepare{Call: "c1", SDP: answerSDP}); !got.Prepared || got.State != protocol.Ringing {
			t.Errorf("the first was told %+v", got)
		}
		if got := expect[*protocol.CallPrepared](a); got.SDP != answerSDP {
			t.Errorf("the caller was told %+v", got)
		}
		if got := ok[protocol.CallPreparing](b2, &protocol.CallPrepare{Call: "c1", SDP: "v=0 other"}); got.Prepared {
			t.Error("a second device was told that it is prepared")
		}
		if got := ok[protocol.CallPreparing](b1, &protocol.CallPrepare{Call: "c1", SDP: answerSDP}); !got.Prepared {
			t.Error("a repeat was told otherwise")
		}
		nothing[*protocol.CallPrepared](a)
		b1.send(protocol.Frame{}, &protocol.CallCandidates{Call: "c1", Gen: "callee", N: 1, Candidates: []protocol.Candidate{hostCandidate}})
		if got := expect[*protocol.CallCandidates](a); len(got.Candidates) != 1 {
			t.Errorf("the caller was told %+v", got)
		}
		if e := a.refused(&protocol.CallPrepare{Call: "c1", SDP: answerSDP}); e.Code != protocol.CodeCallUnknown {
			t.Errorf("the caller prepared: %s", e.Code)
		}

		// A caller who has lost everything finds it.
		snap := ok[protocol.CallSnapshot](a, &protocol.CallSync{Call: "c1"})
		if snap.Kind != "pranswer" || snap.SDP != answerSDP || len(snap.Candidates) != 1 {
			t.Errorf("snapshot = %+v", snap)
		}

		// Another device may answer all the same; then it begins anew.
		ok[protocol.CallReply](b2, &protocol.CallAnswer{Call: "c1", SDP: "v=0 other"})
		if got := expect[*protocol.CallAnswered](a); got.SDP != "v=0 other" {
			t.Errorf("answered with %q", got.SDP)
		}
		wantEnded(t, b1, protocol.ReasonAnsweredElsewhere)
		ok[protocol.CallReply](a, &protocol.CallDescribe{Call: "c1", N: 1, Kind: "offer", SDP: offerSDP, Renew: true})
		if got := expect[*protocol.CallDescribe](b2); !got.Renew {
			t.Errorf("description = %+v", got)
		}
		if e := b1.refused(&protocol.CallPrepare{Call: "c1", SDP: answerSDP}); e.Code != protocol.CodeCallEnded {
			t.Errorf("the loser prepared: %s", e.Code)
		}
	})
}

var (
	hostCandidate  = protocol.Candidate{Candidate: "candidate:2 1 udp 2122260223 192.0.2.7 4000 typ host"}
	relayCandidate = protocol.Candidate{Candidate: "candidate:1 1 udp 41885439 203.0.113.9 50000 typ relay raddr 192.0.2.7 rport 4000"}
)

const gatheredSDP = "v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\ns=-\r\nt=0 0\r\na=ice-ufrag:caller\r\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n" +
	"c=IN IP4 192.0.2.7\r\na=rtcp:4001 IN IP4 192.0.2.7\r\n" +
	"a=candidate:2 1 udp 2122260223 192.0.2.7 4000 typ host\r\na=candidate:1 1 udp 41885439 203.0.113.9 50000 typ relay raddr 192.0.2.7 rport 4000\r\na=mid:0\r\n"

// Whoever rings a stranger learns no address of his, and tells none.
func TestStrangersSeeNoAddresses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		if got := ok[protocol.ICE](a, &protocol.ICEGet{Call: "c1", To: bob}); got.Policy != protocol.PolicyRelayFirst {
			t.Errorf("the caller's policy = %q", got.Policy)
		}
		m := invite("c1", bob)
		m.SDP = gatheredSDP
		ok[protocol.CallInvited](a, m)
		ok[protocol.CallInvited](a, m) // the same, though it was stored otherwise
		in := expect[*protocol.CallIncoming](b)
		if in.ICE.Policy != protocol.PolicyRelayFirst {
			t.Errorf("the callee's policy = %q", in.ICE.Policy)
		}
		if strings.Contains(in.SDP, "192.0.2.7") || !strings.Contains(in.SDP, "203.0.113.9 50000 typ relay raddr 0.0.0.0 rport 9\r\n") || !strings.Contains(in.SDP, "a=mid:0\r\n") {
			t.Errorf("offer = %q", in.SDP)
		}
		ok[protocol.CallPreparing](b, &protocol.CallPrepare{Call: "c1", SDP: answerSDP})
		expect[*protocol.CallPrepared](a)
		b.send(protocol.Frame{}, &protocol.CallCandidates{Call: "c1", Gen: "callee", N: 1, Candidates: []protocol.Candidate{hostCandidate, relayCandidate}, End: true})
		got := expect[*protocol.CallCandidates](a)
		if got.N != 1 || got.End || len(got.Candidates) != 1 || !strings.HasSuffix(got.Candidates[0].Candidate, "typ relay raddr 0.0.0.0 rport 9") {
			t.Errorf("candidates = %+v", got)
		}

		// The answer opens both sides.
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		expect[*protocol.CallAnswered](a)
		if got := expect[*protocol.CallCandidates](a); got.N != 2 || !got.End || len(got.Candidates) != 1 || got.Candidates[0] != hostCandidate {
			t.Errorf("held candidates = %+v", got)
		}
		if got := expect[*protocol.CallCandidates](b); got.N != 1 || len(got.Candidates) != 1 || *got.Candidates[0].MLine != 0 || got.Candidates[0].Candidate != hostCandidate.Candidate {
			t.Errorf("candidates of the offer = %+v", got)
		}
		if snap := ok[protocol.CallSnapshot](b, &protocol.CallSync{Call: "c1"}); snap.ICE.Policy != protocol.PolicyAll {
			t.Errorf("policy after the answer = %q", snap.ICE.Policy)
		}
		ok[protocol.CallReply](a, &protocol.CallHangup{Call: "c1"})

		// They know each other now.
		time.Sleep(time.Second)
		if got := ok[protocol.ICE](a, &protocol.ICEGet{Call: "c2", To: bob}); got.Policy != protocol.PolicyAll {
			t.Errorf("the policy for a contact = %q", got.Policy)
		}
		m.Call = "c2"
		ok[protocol.CallInvited](a, m)
		if in := nextIncoming(b, "c2"); in.SDP != gatheredSDP || in.ICE.Policy != protocol.PolicyAll {
			t.Errorf("a contact's offer = %q, policy %q", in.SDP, in.ICE.Policy)
		}
	})
}

func nextIncoming(p *phone, call string) *protocol.CallIncoming {
	for {
		if in := expect[*protocol.CallIncoming](p); in.Call == call {
			return in
		}
	}
}

// Who has all calls relayed shows nothing at any time, and the others are not
// kept from it.
func TestAlwaysRelayed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		knows(t, a, bob)
		knows(t, b, alice)
		ok[protocol.Settings](b, &protocol.SettingsSet{Relayed: protocol.RelayedEveryone})
		if got := ok[protocol.ICE](b, &protocol.ICEGet{Call: "c1"}); got.Policy != protocol.PolicyRelay {
			t.Errorf("policy = %q", got.Policy)
		}
		if got := ok[protocol.ICE](a, &protocol.ICEGet{Call: "c1", To: bob}); got.Policy != protocol.PolicyAll {
			t.Errorf("the caller's policy = %q: it tells what the callee has set", got.Policy)
		}
		if in := ringing(t, a, b, "c1", bob); in.ICE.Policy != protocol.PolicyRelay {
			t.Errorf("policy = %q", in.ICE.Policy)
		}
		a.send(protocol.Frame{}, &protocol.CallCandidates{Call: "c1", Gen: "caller", N: 1, Candidates: []protocol.Candidate{hostCandidate}})
		if got := expect[*protocol.CallCandidates](b); got.Candidates[0] != hostCandidate {
			t.Errorf("the caller's candidates = %+v", got)
		}
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "c1", SDP: strings.ReplaceAll(gatheredSDP, "caller", "callee")})
		if got := expect[*protocol.CallAnswered](a); strings.Contains(got.SDP, "192.0.2.7") {
			t.Errorf("answer = %q", got.SDP)
		}
		b.send(protocol.Frame{}, &protocol.CallCandidates{Call: "c1", Gen: "callee", N: 1, Candidates: []protocol.Candidate{hostCandidate}})
		b.send(protocol.Frame{}, &protocol.CallCandidates{Call: "c1", Gen: "callee", N: 2, Candidates: []protocol.Candidate{relayCandidate}})
		if got := expect[*protocol.CallCandidates](a); got.N != 1 || len(got.Candidates) != 1 || strings.Contains(got.Candidates[0].Candidate, "192.0.2.7") {
			t.Errorf("the callee's candidates = %+v", got)
		}
		ok[protocol.CallReply](b, &protocol.CallDescribe{Call: "c1", N: 1, Kind: "offer", SDP: gatheredSDP, Restart: true})
		if got := expect[*protocol.CallDescribe](a); strings.Contains(got.SDP, "192.0.2.7") {
			t.Errorf("description = %q", got.SDP)
		}
		nothing[*protocol.CallCandidates](a)
	})
}

// A side whose addresses are hidden must know, also where there is no relay: else it
// would look for ways to the other on its own.
func TestPolicyDoesNotDependOnRelays(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.relays = noRelays{}
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		if got := ok[protocol.ICE](a, &protocol.ICEGet{Call: "c1", To: bob}); got.Policy != protocol.PolicyRelayFirst {
			t.Errorf("the caller's policy = %q", got.Policy)
		}
		if in := ringing(t, a, b, "c1", bob); in.ICE.Policy != protocol.PolicyRelayFirst {
			t.Errorf("the callee's policy = %q", in.ICE.Policy)
		}
	})
}

// What operators are told of a call to come is what its sides are told.
func TestPoliciesAreThoseOfTheCall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		tokens := []string{w.device(n, alice), w.device(n, bob)}
		a, b := n.connect(tokens[0]), n.connect(tokens[1])
		caller := Party{w.tokens[tokens[0]].Account, w.tokens[tokens[0]].Number}
		callee := Party{w.tokens[tokens[1]].Account, w.tokens[tokens[1]].Number}
		check := func(id string, blocked bool) {
			t.Helper()
			own, theirs, kept, err := n.server.Policies(t.Context(), caller, callee)
			if err != nil || kept != blocked {
				t.Fatalf("kept from the callee: %v, %v", kept, err)
			}
			if blocked {
				return
			}
			in := ringing(t, a, b, id, bob)
			if mine := ok[protocol.ICE](a, &protocol.ICEGet{Call: id}).Policy; mine != own || in.ICE.Policy != theirs {
				t.Errorf("said are %q, %q; the call has %q, %q", own, theirs, mine, in.ICE.Policy)
			}
			ok[protocol.CallReply](a, &protocol.CallHangup{Call: id})
			wantEnded(t, b, protocol.ReasonCanceled)
			wantEnded(t, a, protocol.ReasonCanceled)
		}
		check("c1", false)
		knows(t, a, bob)
		knows(t, b, alice)
		check("c2", false)
		ok[protocol.Settings](b, &protocol.SettingsSet{Relayed: protocol.RelayedEveryone})
		check("c3", false)
		ok[struct{}](b, &protocol.BlockAdd{Number: alice})
		check("", true)
		nobody := Party{Number: callee.Number}
		if own, theirs, blocked, err := n.server.Policies(t.Context(), caller, nobody); err != nil || blocked || own != protocol.PolicyRelayFirst || theirs != protocol.PolicyRelayFirst {
			t.Errorf("to a number that nobody has: %q, %q, %v, %v", own, theirs, blocked, err)
		}
	})
}

// Servers for a restart come with the policy that the call has, whatever has been
// set meanwhile: the server keeps to it.
func TestPolicyOfACallStays(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		ok[protocol.Settings](b, &protocol.SettingsSet{Relayed: protocol.RelayedEveryone})
		talking(t, a, b, "c1", bob)
		ok[protocol.Settings](b, &protocol.SettingsSet{Relayed: protocol.RelayedNobody})
		ok[protocol.Settings](a, &protocol.SettingsSet{Relayed: protocol.RelayedEveryone})
		if got := ok[protocol.ICE](b, &protocol.ICEGet{Call: "c1"}); got.Policy != protocol.PolicyRelay {
			t.Errorf("the callee's policy = %q", got.Policy)
		}
		if got := ok[protocol.ICE](a, &protocol.ICEGet{Call: "c1"}); got.Policy != protocol.PolicyAll {
			t.Errorf("the caller's policy = %q", got.Policy)
		}
		if got := ok[protocol.ICE](a, &protocol.ICEGet{Call: "another"}); got.Policy != protocol.PolicyRelay {
			t.Errorf("the policy of a call to come = %q", got.Policy)
		}
	})
}

// noRelays is an installation without any.
type noRelays struct{ testRelays }

func (r noRelays) For(RelaysFor) protocol.ICE { return r.Open() }
