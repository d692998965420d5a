package relay_test

import (
	"bytes"
	"testing"

	"github.com/pion/stun/v4"
)

// FuzzDatagram sends anything over UDP, from a client that has an allocation with a
// channel and from a stranger. The relay stays, answers a stranger with little more than
// was sent, and keeps the allocation.
func FuzzDatagram(f *testing.F) {
	for _, b := range garbage {
		f.Add(b)
	}
	for _, b := range demands(f, credentials{"1:one:call:user", "secret"}) {
		f.Add(b)
	}
	f.Add(channelData(0x4000, []byte("in a channel that there is")))
	f.Add(sendIndication(peer("127.0.0.1:5000"), attribute{stun.AttrData, []byte("data")}, dontFragment))
	s := conforming(f, nil)
	r, stranger := s.caller(f, "udp"), s.raw(f, "udp", credentials{})
	r.bind(f, 0x4000, "127.0.0.1:5000")
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 60000 {
			return
		}
		for _, from := range []*raw{r, stranger} {
			from.send(t, b)
			after := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
			from.send(t, after.Raw)
			for {
				answer := from.packet(t, patience)
				if answer == nil {
					t.Fatal("the relay is silent")
				}
				if len(answer) >= 20 && bytes.Equal(answer[8:20], after.TransactionID[:]) {
					break
				}
				if from == stranger && float64(len(answer)+overhead) > 1.9*float64(len(b)+overhead) {
					t.Errorf("%d bytes are answered with %d", len(b), len(answer))
				}
			}
		}
		if n := s.Allocations(); n != 1 {
			t.Errorf("%d allocations", n)
		}
	})
}

// FuzzRequest sends any attributes in requests that are authenticated, and so get to the
// TURN library and behind it. Each has one answer.
func FuzzRequest(f *testing.F) {
	attributes := func(setters ...stun.Setter) []byte {
		return stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)}, setters...)...).Raw[20:]
	}
	f.Add(uint8(0), attributes(udpRelay))
	f.Add(uint8(0), attributes(udpRelay, evenPair, reservation, family(2), additional(2), dontFragment))
	f.Add(uint8(1), attributes(lifetime(0)))
	f.Add(uint8(1), attributes(lifetime(1<<32-1), family(1)))
	f.Add(uint8(2), attributes(peer("127.0.0.1:5000"), peer("169.254.169.254:80"), peer("[::1]:5000")))
	f.Add(uint8(3), attributes(channel(0x4000), peer("127.0.0.1:5000")))
	f.Add(uint8(3), attributes(channel(0xffff), attribute{stun.AttrXORPeerAddress, []byte{0, 1, 2}}))
	s := conforming(f, nil)
	r := s.newcomer(f, "udp")
	methods := []stun.Method{stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind}
	f.Fuzz(func(t *testing.T, method uint8, attributes []byte) {
		if len(attributes) > 1000 {
			return
		}
		var all []stun.Setter
		for b := attributes; len(b) >= 4; {
			n := min(int(b[3]), len(b)-4) // one byte for the length: it is rarely more
			kind := stun.AttrType(uint16(b[0])<<8 | uint16(b[1]))
			if kind == stun.AttrMessageIntegrity || kind == stun.AttrFingerprint || kind == stun.AttrMessageIntegritySHA256 {
				return // those are not what this is about
			}
			all = append(all, attribute{kind, b[4 : 4+n]})
			b = b[min(4+(n+3)&^3, len(b)):]
		}
		m := r.request(t, methods[int(method)%len(methods)], all...)
		switch code := codeOf(r.ask(t, m)); code {
		case 0, 400, 401, 403, 420, 437, 440, 441, 442, 443, 486, 508:
		case 438:
			r.greet(t)
		default:
			t.Errorf("%d", code)
		}
		if s.Allocations() > 1 {
			t.Errorf("%d allocations", s.Allocations())
		}
		r.done(t, stun.MustBuild(stun.TransactionID, stun.BindingRequest))
	})
}
