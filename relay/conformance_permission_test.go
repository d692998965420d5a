package relay_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// RFC 8656 sections 9 and 10: permissions.
func TestPermissions(t *testing.T) {
	t.Parallel()
	s := conforming(t, func(c *relay.Config) { c.Quotas.Permissions = 4 })

	// hears reports whether data of a peer at an address reaches the client. Another
	// peer, which does, says when it would have.
	hears := func(t *testing.T, r *raw, host string) bool {
		t.Helper()
		f, relayed := r.meet(t)
		newFar(t, host).say(t, relayed, "is anybody there")
		f.say(t, relayed, "the end")
		_, data := dataOf(t, r.packet(t, patience))
		if data == "the end" {
			return false
		}
		r.packet(t, patience)
		return true
	}
	t.Run("without one", func(t *testing.T) {
		for _, over := range everyTransport {
			if hears(t, s.caller(t, over), "127.0.0.9") {
				t.Errorf("a peer without a permission is heard over %s", over)
			}
		}
	})
	t.Run("for an address, and not for a port", func(t *testing.T) {
		for _, over := range everyTransport {
			r := s.caller(t, over)
			r.permit(t, "127.0.0.9:9")
			if !hears(t, r, "127.0.0.9") {
				t.Errorf("another port is not heard over %s", over)
			}
		}
	})
	t.Run("with any port", func(t *testing.T) {
		r := s.caller(t, "udp")
		r.permit(t, "127.0.0.9:0", "127.0.0.9:65535")
		if !hears(t, r, "127.0.0.9") {
			t.Error("not heard")
		}
	})
	t.Run("for the other allocation", func(t *testing.T) {
		r, other := s.caller(t, "udp"), s.caller(t, "udp")
		other.permit(t, "127.0.0.9:9")
		if hears(t, r, "127.0.0.9") {
			t.Error("a permission of another allocation holds")
		}
	})
	t.Run("of an allocation that has ended", func(t *testing.T) {
		r := s.caller(t, "udp")
		r.permit(t, "127.0.0.9:9")
		r.done(t, r.request(t, stun.MethodRefresh, lifetime(0)))
		r.done(t, r.request(t, stun.MethodAllocate, udpRelay))
		if hears(t, r, "127.0.0.9") {
			t.Error("a permission of the allocation before holds")
		}
	})
	t.Run("several in one request", func(t *testing.T) {
		r := s.caller(t, "udp")
		r.permit(t, "127.0.0.7:1", "127.0.0.8:1", "127.0.0.9:1")
		for _, host := range []string{"127.0.0.7", "127.0.0.8", "127.0.0.9"} {
			if !hears(t, r, host) {
				t.Errorf("%s is not heard", host)
			}
		}
	})
	t.Run("repeated", func(t *testing.T) {
		r := s.caller(t, "udp")
		m := r.request(t, stun.MethodCreatePermission, peer("127.0.0.9:1"))
		if one, two := r.done(t, m), r.done(t, m); one.TransactionID != two.TransactionID {
			t.Errorf("%v, %v", one, two)
		}
	})
	t.Run("written as IPv4 in IPv6", func(t *testing.T) { // is the IPv4 address
		r := s.caller(t, "udp")
		mapped := netip.AddrFrom16(netip.MustParseAddr("127.0.0.9").As16())
		if got := codeOf(r.ask(t, r.request(t, stun.MethodCreatePermission, wide(netip.AddrPortFrom(mapped, 1))))); got == 0 && !hears(t, r, "127.0.0.9") {
			t.Error("a permission that holds for nobody")
		}
	})
	for _, test := range []struct {
		name string
		last stun.Setter
		code int
	}{
		{"all or none: one is denied", peer("169.254.169.254:5000"), 403},
		{"all or none: one is of another family", peer("[2a00:1450::1]:5000"), 443},
		{"all or none: one is malformed", attribute{stun.AttrXORPeerAddress, []byte{0, 9, 1, 2, 3, 4, 5, 6}}, 400},
		{"all or none: one is cut", attribute{stun.AttrXORPeerAddress, []byte{0, 1, 1}}, 400},
		{"all or none: one too many", several{"127.0.1.1:1", "127.0.1.2:1", "127.0.1.3:1", "127.0.1.4:1"}, 508},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, over := range everyTransport {
				r := s.caller(t, over)
				if got := codeOf(r.ask(t, r.request(t, stun.MethodCreatePermission, peer("127.0.0.9:1"), test.last))); got != test.code {
					t.Errorf("%d over %s, want %d", got, over, test.code)
				}
				if hears(t, r, "127.0.0.9") {
					t.Errorf("the first of a refused request is permitted over %s", over)
				}
			}
		})
	}
	t.Run("no XOR-PEER-ADDRESS", func(t *testing.T) {
		r := s.caller(t, "udp")
		if got := codeOf(r.ask(t, r.request(t, stun.MethodCreatePermission))); got != 400 {
			t.Errorf("%d, want 400", got)
		}
	})
	t.Run("unknown required attribute", func(t *testing.T) {
		r := s.caller(t, "udp")
		if got := codeOf(r.ask(t, r.request(t, stun.MethodCreatePermission, peer("127.0.0.9:1"), attribute{0x7fff, nil}))); got != 420 {
			t.Errorf("%d, want 420", got)
		}
		if hears(t, r, "127.0.0.9") {
			t.Error("the peer of a refused request is permitted")
		}
	})
	t.Run("as many as there may be", func(t *testing.T) {
		r := s.caller(t, "udp")
		for i := range 4 {
			r.permit(t, fmt.Sprintf("127.0.1.%d:1", i+1))
		}
		if got := codeOf(r.ask(t, r.request(t, stun.MethodCreatePermission, peer("127.0.1.9:1")))); got != 508 {
			t.Errorf("one more: %d, want 508", got)
		}
		r.permit(t, "127.0.1.1:1", "127.0.1.2:2", "127.0.1.3:3", "127.0.1.4:4") // are there already
	})
}

// several are several peers.
type several []string

func (s several) AddTo(m *stun.Message) error {
	for _, p := range s {
		if err := peer(p).AddTo(m); err != nil {
			return err
		}
	}
	return nil
}

// wide is an XOR-PEER-ADDRESS of 16 bytes, whatever the address is.
type wide netip.AddrPort

func (w wide) AddTo(m *stun.Message) error {
	ip, port := netip.AddrPort(w).Addr().As16(), netip.AddrPort(w).Port()
	key := append([]byte{0x21, 0x12, 0xa4, 0x42}, m.TransactionID[:]...)
	for i := range ip {
		ip[i] ^= key[i]
	}
	port ^= 0x2112
	m.Add(stun.AttrXORPeerAddress, append([]byte{0, 2, byte(port >> 8), byte(port)}, ip[:]...))
	return nil
}
