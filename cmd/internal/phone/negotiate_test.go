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
