package relay_test

import (
	"strings"
	"testing"

	"github.com/pion/stun/v4"
)

// RFC 8656 section 11: Send and Data indications.
func TestIndications(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	t.Run("both ways", func(t *testing.T) {
		for _, over := range everyTransport {
			r := s.newcomer(t, over)
			relayed := addressIn(t, r.done(t, r.request(t, stun.MethodAllocate, udpRelay)), stun.AttrXORRelayedAddress)
			f := newFar(t, "127.0.0.1")
			r.permit(t, f.at())
			for _, size := range []int{0, 1, 2, 3, 4, 5, 172, 1200, 1500} {
				data := strings.Repeat("y", size)
				r.sendTo(t, f.at(), data)
				if from := f.expect(t, data); from != relayed {
					t.Errorf("from %v, want %v", from, relayed)
				}
				f.say(t, relayed, data)
				if from, got := dataOf(t, r.packet(t, patience)); got != data || from.String() != f.at() {
					t.Errorf("%d bytes over %s: %d from %v", size, over, len(got), from)
				}
			}
		}
	})
	t.Run("have no answer", func(t *testing.T) {
		r := s.caller(t, "udp")
		f, _ := r.meet(t)
		r.unanswered(t, sendIndication(peer(f.at()), attribute{stun.AttrData, []byte("data")}))
	})
	t.Run("to a port", func(t *testing.T) { // though permissions have none
		r := s.caller(t, "udp")
		r.meet(t)
		g := newFar(t, "127.0.0.1")
		r.sendTo(t, g.at(), "to you")
		g.expect(t, "to you")
	})
	t.Run("unknown optional attribute", func(t *testing.T) {
		r := s.caller(t, "udp")
		f, _ := r.meet(t)
		r.sendTo(t, f.at(), "data", attribute{0xfffe, nil})
		f.expect(t, "data")
	})

	// What is not relayed: the peer receives what was sent after it.
	data := attribute{stun.AttrData, []byte("data")}
	for _, test := range []struct {
		name       string
		attributes func(at string) []stun.Setter
	}{
		{"without XOR-PEER-ADDRESS", func(string) []stun.Setter { return []stun.Setter{data} }},
		{"without DATA", func(at string) []stun.Setter { return []stun.Setter{peer(at)} }},
		{"with a malformed XOR-PEER-ADDRESS", func(string) []stun.Setter {
			return []stun.Setter{attribute{stun.AttrXORPeerAddress, []byte{0, 9, 1, 2, 3, 4, 5, 6}}, data}
		}},
		{"unknown required attribute", func(at string) []stun.Setter { return []stun.Setter{peer(at), data, attribute{0x7fff, nil}} }},
		{"DONT-FRAGMENT", func(at string) []stun.Setter { return []stun.Setter{peer(at), data, dontFragment} }},
		{"of another family", func(string) []stun.Setter { return []stun.Setter{peer("[::1]:5000"), data} }},
		{"to a port that is denied", func(string) []stun.Setter { return []stun.Setter{peer("127.0.0.1:53"), data} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, over := range everyTransport {
				r := s.caller(t, over)
				f, _ := r.meet(t)
				r.unanswered(t, sendIndication(test.attributes(f.at())...))
				r.sendTo(t, f.at(), "after it")
				f.expect(t, "after it")
			}
		})
	}
	t.Run("without a permission", func(t *testing.T) {
		for _, over := range everyTransport {
			r := s.caller(t, over)
			f := newFar(t, "127.0.0.9")
			r.unanswered(t, sendIndication(peer(f.at()), attribute{stun.AttrData, []byte("too early")}))
			r.permit(t, f.at())
			r.sendTo(t, f.at(), "after it")
			f.expect(t, "after it")
		}
	})
	t.Run("without an allocation", func(t *testing.T) {
		s.raw(t, "udp", credentials{}).unanswered(t, sendIndication(peer("127.0.0.1:5000"), data))
	})
	t.Run("Data indications of a client", func(t *testing.T) {
		r := s.caller(t, "udp")
		f, _ := r.meet(t)
		r.unanswered(t, stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodData, stun.ClassIndication), peer(f.at()), data).Raw)
	})
	t.Run("nothing of a peer that cannot be reached", func(t *testing.T) { // no ICMP (11.5), and no end
		r := s.caller(t, "udp")
		f, relayed := r.meet(t)
		gone := newFar(t, "127.0.0.1")
		at := gone.at()
		gone.Close()
		for range 5 {
			r.unanswered(t, sendIndication(peer(at), data))
		}
		f.say(t, relayed, "others are heard")
		if _, got := dataOf(t, r.packet(t, patience)); got != "others are heard" {
			t.Errorf("%q", got)
		}
	})
}
