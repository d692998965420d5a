package relay_test

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// additional is ADDITIONAL-ADDRESS-FAMILY.
func additional(f byte) attribute { return attribute{0x8000, []byte{f, 0, 0, 0}} }

var (
	evenPort     = attribute{stun.AttrEvenPort, []byte{0}}
	evenPair     = attribute{stun.AttrEvenPort, []byte{0x80}}
	reservation  = attribute{stun.AttrReservationToken, []byte("12345678")}
	dontFragment = attribute{stun.AttrDontFragment, nil}
)

// RFC 8656 section 7.2: what an Allocate request is answered with.
func TestAllocate(t *testing.T) {
	t.Parallel()
	s := conforming(t, func(c *relay.Config) { c.Ports = relay.PortRange{Min: 50000, Max: 59999} })

	t.Run("success", func(t *testing.T) {
		for _, over := range everyTransport {
			var r *raw
			var here netip.AddrPort
			if over == "udp" {
				r = s.newcomer(t, over)
				here = r.conn.LocalAddr().(*net.UDPAddr).AddrPort()
			} else {
				conn := s.dialStream(t, over)
				r = s.rawOn(t, conn, mint(t, "call", t.Name(), time.Now())).greet(t)
				here = conn.LocalAddr().(*net.TCPAddr).AddrPort()
			}
			answer := r.done(t, r.request(t, stun.MethodAllocate, udpRelay))
			if got := addressIn(t, answer, stun.AttrXORMappedAddress); got != here {
				t.Errorf("mapped over %s: %v, want %v", over, got, here)
			}
			relayed := addressIn(t, answer, stun.AttrXORRelayedAddress)
			if relayed.Addr() != netip.MustParseAddr("127.0.0.1") || relayed.Port() < 50000 || relayed.Port() > 59999 {
				t.Errorf("relayed over %s: %v", over, relayed)
			}
			if got := lifetimeIn(t, answer); got != 600 {
				t.Errorf("LIFETIME over %s: %d", over, got)
			}
		}
	})
	t.Run("LIFETIME", func(t *testing.T) {
		for _, test := range []struct{ asked, want uint32 }{
			{0, 600}, {1, 600}, {599, 600}, {600, 600}, {601, 601}, {1800, 1800}, {3599, 3599}, {3600, 3599}, {86400, 3599}, {1<<32 - 1, 3599},
		} {
			r := s.newcomer(t, "udp")
			if got := lifetimeIn(t, r.done(t, r.request(t, stun.MethodAllocate, udpRelay, lifetime(test.asked)))); got != test.want {
				t.Errorf("%d asked, %d given, want %d", test.asked, got, test.want)
			}
		}
	})
	t.Run("LIFETIME and FINGERPRINT", func(t *testing.T) {
		r := s.newcomer(t, "tcp")
		m := r.request(t, stun.MethodAllocate, udpRelay, lifetime(60), stun.NewSoftware("a client"))
		if err := stun.Fingerprint.AddTo(m); err != nil {
			t.Fatal(err)
		}
		if got := lifetimeIn(t, r.done(t, m)); got != 600 {
			t.Errorf("LIFETIME %d", got)
		}
	})
	t.Run("LIFETIME of another length", func(t *testing.T) {
		r := s.newcomer(t, "udp")
		if got := lifetimeIn(t, r.done(t, r.request(t, stun.MethodAllocate, udpRelay, attribute{stun.AttrLifetime, []byte{0, 1}}))); got != 600 {
			t.Errorf("LIFETIME %d", got)
		}
	})
	t.Run("LIFETIME with a wrong password", func(t *testing.T) {
		r := s.newcomer(t, "udp")
		r.as.password = "wrong"
		if got := codeOf(r.ask(t, r.request(t, stun.MethodAllocate, udpRelay, lifetime(60)))); got != 401 {
			t.Errorf("%d, want 401", got)
		}
	})
	t.Run("repeated", func(t *testing.T) {
		own := conforming(t, nil)
		r := own.newcomer(t, "udp")
		m := r.request(t, stun.MethodAllocate, udpRelay)
		one, two := r.done(t, m), r.done(t, m)
		if !bytes.Equal(one.Raw, two.Raw) {
			t.Errorf("answered with %v, and then with %v", one, two)
		}
		if n := own.Allocations(); n != 1 {
			t.Errorf("%d allocations", n)
		}
	})
	t.Run("twice on one 5-tuple", func(t *testing.T) {
		r := s.caller(t, "udp")
		if got := codeOf(r.ask(t, r.request(t, stun.MethodAllocate, udpRelay))); got != 437 {
			t.Errorf("%d, want 437", got)
		}
		r.as = mint(t, "call", "somebody else", time.Now())
		if got := codeOf(r.ask(t, r.request(t, stun.MethodAllocate, udpRelay))); got != 437 {
			t.Errorf("of another user: %d, want 437", got)
		}
	})
	t.Run("the same port over UDP and TCP", func(t *testing.T) { // are two 5-tuples
		tcp := s.dialStream(t, "tcp")
		here := tcp.LocalAddr().(*net.TCPAddr)
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: here.IP, Port: here.Port})
		if err != nil {
			t.Skipf("the port is taken: %v", err)
		}
		defer udp.Close()
		as := mint(t, "call", t.Name(), time.Now())
		addr, err := net.ResolveUDPAddr("udp", s.address("udp"))
		if err != nil {
			t.Fatal(err)
		}
		one, two := s.rawOn(t, tcp, as).allocated(t), (&raw{conn: udp, server: addr, as: as}).allocated(t)
		one.done(t, one.request(t, stun.MethodRefresh, lifetime(0)))
		two.done(t, two.request(t, stun.MethodRefresh))
	})
	t.Run("ports cannot be foreseen", func(t *testing.T) {
		var ports []uint16
		for range 20 {
			r := s.newcomer(t, "udp")
			ports = append(ports, addressIn(t, r.done(t, r.request(t, stun.MethodAllocate, udpRelay)), stun.AttrXORRelayedAddress).Port())
		}
		if slices.IsSorted(ports) {
			t.Errorf("ports in order: %v", ports)
		}
	})

	for _, test := range []struct {
		name       string
		attributes []stun.Setter
		code       int
	}{
		{"no REQUESTED-TRANSPORT", nil, 400},
		{"REQUESTED-TRANSPORT of another length", []stun.Setter{attribute{stun.AttrRequestedTransport, []byte{17, 0}}}, 400},
		{"REQUESTED-TRANSPORT TCP", []stun.Setter{tcpRelay}, 442},
		{"REQUESTED-TRANSPORT SCTP", []stun.Setter{attribute{stun.AttrRequestedTransport, []byte{132, 0, 0, 0}}}, 442},
		{"REQUESTED-TRANSPORT with its reserved bits set", []stun.Setter{attribute{stun.AttrRequestedTransport, []byte{17, 1, 2, 3}}}, 0},
		{"EVEN-PORT", []stun.Setter{udpRelay, evenPort}, 508},
		{"EVEN-PORT with a pair", []stun.Setter{udpRelay, evenPair}, 508},
		{"RESERVATION-TOKEN of nobody", []stun.Setter{udpRelay, reservation}, 508},
		{"RESERVATION-TOKEN and EVEN-PORT", []stun.Setter{udpRelay, reservation, evenPort}, 400},
		{"RESERVATION-TOKEN and REQUESTED-ADDRESS-FAMILY", []stun.Setter{udpRelay, reservation, family(1)}, 400},
		{"RESERVATION-TOKEN and ADDITIONAL-ADDRESS-FAMILY", []stun.Setter{udpRelay, reservation, additional(2)}, 400},
		{"REQUESTED-ADDRESS-FAMILY and ADDITIONAL-ADDRESS-FAMILY", []stun.Setter{udpRelay, family(1), additional(2)}, 400},
		{"EVEN-PORT with a pair and ADDITIONAL-ADDRESS-FAMILY", []stun.Setter{udpRelay, evenPair, additional(2)}, 400},
		{"ADDITIONAL-ADDRESS-FAMILY IPv4", []stun.Setter{udpRelay, additional(1)}, 400},
		{"REQUESTED-ADDRESS-FAMILY IPv4", []stun.Setter{udpRelay, family(1)}, 0},
		{"REQUESTED-ADDRESS-FAMILY that there is not here", []stun.Setter{udpRelay, family(2)}, 440},
		{"REQUESTED-ADDRESS-FAMILY that nobody knows", []stun.Setter{udpRelay, family(7)}, 440},
		{"REQUESTED-ADDRESS-FAMILY of another length", []stun.Setter{udpRelay, attribute{stun.AttrRequestedAddressFamily, []byte{1}}}, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, over := range everyTransport {
				r := s.newcomer(t, over)
				if got := codeOf(r.ask(t, r.request(t, stun.MethodAllocate, test.attributes...))); got != test.code {
					t.Errorf("%d over %s, want %d", got, over, test.code)
				}
			}
		})
	}
	t.Run("DONT-FRAGMENT", func(t *testing.T) {
		r := s.newcomer(t, "udp")
		answer := r.ask(t, r.request(t, stun.MethodAllocate, udpRelay, dontFragment))
		var unknown stun.UnknownAttributes
		if err := unknown.GetFrom(answer); codeOf(answer) != 420 || err != nil || !slices.Contains(unknown, stun.AttrDontFragment) {
			t.Errorf("%d, %v, %v", codeOf(answer), unknown, err)
		}
	})
	t.Run("unknown required attribute", func(t *testing.T) {
		r := s.newcomer(t, "udp")
		answer := r.ask(t, r.request(t, stun.MethodAllocate, udpRelay, attribute{0x7fff, nil}))
		var unknown stun.UnknownAttributes
		if err := unknown.GetFrom(answer); codeOf(answer) != 420 || err != nil || len(unknown) != 1 || unknown[0] != 0x7fff {
			t.Errorf("%d, %v, %v", codeOf(answer), unknown, err)
		}
	})
	t.Run("a refusal leaves the 5-tuple free", func(t *testing.T) {
		r := s.newcomer(t, "udp")
		r.ask(t, r.request(t, stun.MethodAllocate, tcpRelay))
		r.done(t, r.request(t, stun.MethodAllocate, udpRelay))
	})
}

// RFC 8656 section 7.2, checks 7 and 9: families.
func TestAddressFamilies(t *testing.T) {
	t.Parallel()
	needsIPv6(t)
	both, six := conforming(t, onBoth), conforming(t, onIPv6)
	for _, test := range []struct {
		name   string
		server *server
		ask    []stun.Setter
		want   string // the relayed address
	}{
		{"IPv4 of both", both, []stun.Setter{family(1)}, "127.0.0.1"},
		{"IPv6 of both", both, []stun.Setter{family(2)}, "::1"},
		{"none asked for, over IPv4", both, nil, "127.0.0.1"},
		{"IPv6 of IPv6", six, []stun.Setter{family(2)}, "::1"},
		{"none asked for, over IPv6", six, nil, "::1"},
		{"ADDITIONAL-ADDRESS-FAMILY is passed over", both, []stun.Setter{additional(2)}, "127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.server.newcomer(t, "udp")
			answer := r.done(t, r.request(t, stun.MethodAllocate, append([]stun.Setter{udpRelay}, test.ask...)...))
			if got := addressIn(t, answer, stun.AttrXORRelayedAddress); got.Addr() != netip.MustParseAddr(test.want) {
				t.Errorf("relayed %v, want %s", got, test.want)
			}
			relays := 0
			for _, a := range answer.Attributes {
				if a.Type == stun.AttrXORRelayedAddress {
					relays++
				}
			}
			if relays != 1 {
				t.Errorf("%d relayed addresses", relays)
			}
		})
	}
	t.Run("IPv4 of IPv6", func(t *testing.T) {
		r := six.newcomer(t, "udp")
		if got := codeOf(r.ask(t, r.request(t, stun.MethodAllocate, udpRelay, family(1)))); got != 440 {
			t.Errorf("%d, want 440", got)
		}
	})
	t.Run("peers of the other family", func(t *testing.T) {
		r := both.newcomer(t, "udp")
		r.done(t, r.request(t, stun.MethodAllocate, udpRelay, family(2)))
		for _, method := range []stun.Method{stun.MethodCreatePermission, stun.MethodChannelBind} {
			if got := codeOf(r.ask(t, r.request(t, method, channel(0x4000), peer("127.0.0.1:5000")))); got != 443 {
				t.Errorf("%v: %d, want 443", method, got)
			}
			r.done(t, r.request(t, method, channel(0x4000), peer("[::1]:5000")))
		}
		four := both.caller(t, "udp")
		for _, method := range []stun.Method{stun.MethodCreatePermission, stun.MethodChannelBind} {
			if got := codeOf(four.ask(t, four.request(t, method, channel(0x4000), peer("[::1]:5000")))); got != 443 {
				t.Errorf("%v: %d, want 443", method, got)
			}
		}
	})
	t.Run("data from IPv4 to IPv6 and back", func(t *testing.T) {
		r := both.newcomer(t, "udp")
		relayed := addressIn(t, r.done(t, r.request(t, stun.MethodAllocate, udpRelay, family(2))), stun.AttrXORRelayedAddress)
		f := newFar(t, "::1")
		r.permit(t, f.at())
		r.sendTo(t, f.at(), "over IPv6")
		if from := f.expect(t, "over IPv6"); from != relayed {
			t.Errorf("from %v, want %v", from, relayed)
		}
		f.say(t, relayed, "and back")
		if from, data := dataOf(t, r.packet(t, patience)); from.String() != f.at() || data != "and back" {
			t.Errorf("%q from %v", data, from)
		}
	})
	t.Run("Refresh of another family", func(t *testing.T) {
		r := both.caller(t, "udp")
		if got := codeOf(r.ask(t, r.request(t, stun.MethodRefresh, family(2)))); got != 443 {
			t.Errorf("%d, want 443", got)
		}
		r.done(t, r.request(t, stun.MethodRefresh, family(1)))
	})
}
