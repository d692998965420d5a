package phone

import (
	"testing"

	"github.com/pion/webrtc/v4"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// With relays alone until the answer, the phone goes to nobody before: it looks for
// all kinds of candidates, and what the other side calls a relay may be its own.
func TestNothingIsPreparedAmongStrangers(t *testing.T) {
	for policy, want := range map[protocol.ICEPolicy]bool{protocol.PolicyRelayFirst: false, protocol.PolicyAll: true} {
		caller, err := newPhone(protocol.ICE{Policy: policy}, protocol.Caller, Options{})
		if err != nil {
			t.Fatal(err)
		}
		callee, err := newPhone(protocol.ICE{}, protocol.Callee, Options{})
		if err != nil {
			t.Fatal(err)
		}
		offer, err := caller.offer()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := callee.answer(offer)
		if err != nil {
			t.Fatal(err)
		}
		if err := caller.handle(client.Prepared{SDP: answer}); err != nil {
			t.Error(err)
		}
		if got := caller.pc.RemoteDescription() != nil; got != want {
			t.Errorf("policy %q: the pre-answer was taken: %v", policy, got)
		}
		if err := caller.handle(client.Answered{SDP: answer}); err != nil {
			t.Error(err)
		}
		if caller.pc.RemoteDescription() == nil {
			t.Errorf("policy %q: the answer was not taken", policy)
		}
		for _, p := range []*phone{caller, callee} {
			if err := p.close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Another device has answered than the one that is prepared, or it is not known
// which: there is a new connection.
func TestBeginsAnewWithAnother(t *testing.T) {
	for name, answered := range map[string]string{"another": "v=0 another", "not known": ""} {
		t.Run(name, func(t *testing.T) {
			p, err := newPhone(protocol.ICE{}, protocol.Caller, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			if _, err := p.offer(); err != nil {
				t.Fatal(err)
			}
			if answered != "" {
				p.prepared = "v=0 prepared"
			}
			before := p.pc
			if err := p.handle(client.Answered{SDP: answered}); err != nil {
				t.Fatal(err)
			}
			if p.pc == before || before.ConnectionState() != webrtc.PeerConnectionStateClosed || len(p.requests) != 1 {
				t.Errorf("it goes on with the old connection, or does not offer another: %d requests", len(p.requests))
			}
		})
	}
}

// Both restart ICE at once: the caller's offer stands, and the callee answers it although
// it has made one itself.
func TestBothRestart(t *testing.T) {
	caller, err := newPhone(protocol.ICE{}, protocol.Caller, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer caller.close()
	callee, err := newPhone(protocol.ICE{}, protocol.Callee, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer callee.close()
	offer, err := caller.offer()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := callee.answer(offer)
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.handle(client.Answered{SDP: answer}); err != nil {
		t.Fatal(err)
	}
	caller.restart()
	callee.restart()
	offers := map[*phone]protocol.CallDescribe{}
	for _, p := range []*phone{caller, callee} {
		offers[p] = protocol.CallDescribe{Kind: "offer", SDP: p.pc.LocalDescription().SDP, Restart: true}
	}
	if err := caller.described(offers[callee]); err != nil {
		t.Errorf("the caller: %v", err)
	}
	if err := callee.described(offers[caller]); err != nil {
		t.Fatalf("the callee: %v", err)
	}
	got := callee.pc.LocalDescription()
	if callee.pc.SignalingState() != webrtc.SignalingStateStable || got.Type != webrtc.SDPTypeAnswer || got.SDP == answer {
		t.Fatalf("the callee is %v, with a %v", callee.pc.SignalingState(), got.Type)
	}
	if protocol.Generation(callee.pc.RemoteDescription().SDP) != protocol.Generation(offers[caller].SDP) {
		t.Error("the callee has not taken the caller's offer")
	}
	if err := caller.described(protocol.CallDescribe{Kind: "answer", SDP: got.SDP}); err != nil || caller.pc.SignalingState() != webrtc.SignalingStateStable {
		t.Errorf("the caller is %v: %v", caller.pc.SignalingState(), err)
	}
}
