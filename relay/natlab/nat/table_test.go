package nat_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"switchboard/relay/natlab/nat"
)

var (
	external = netip.MustParseAddr("198.18.0.1")
	start    = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

	// Two inside endpoints, a third on the port of the first, and remote ones on two
	// addresses with two ports.
	x1 = netip.MustParseAddrPort("192.168.1.2:5000")
	x2 = netip.MustParseAddrPort("192.168.1.3:6000")
	x3 = netip.MustParseAddrPort("192.168.1.4:5000")
	a1 = netip.MustParseAddrPort("198.18.1.1:1111")
	a2 = netip.MustParseAddrPort("198.18.1.1:2222")
	b1 = netip.MustParseAddrPort("198.18.2.2:1111")
	b2 = netip.MustParseAddrPort("198.18.2.2:2222")
)

// box is a table with a clock, which tests turn.
type box struct {
	t *testing.T
	*nat.Table
	now time.Time
}

func newBox(t *testing.T, n nat.NAT) *box {
	t.Helper()
	return &box{t, nat.New(n, external, rand.New(rand.NewPCG(1, 2))), start}
}

func (b *box) wait(d time.Duration) { b.now = b.now.Add(d) }

// out sends a UDP packet from inside and returns the external endpoint that it got.
func (b *box) out(src, dst netip.AddrPort) netip.AddrPort {
	b.t.Helper()
	p, v := b.Outbound(b.now, nat.Packet{Proto: nat.UDP, Src: src, Dst: dst})
	if v != nat.Forward {
		b.t.Fatalf("outbound %v to %v: %v, want forward", src, dst, v)
	}
	if p.Dst != dst {
		b.t.Fatalf("outbound %v to %v: the destination became %v", src, dst, p.Dst)
	}
	return p.Src
}

// in sends a UDP packet to an external endpoint and says where it went.
func (b *box) in(src, dst netip.AddrPort) (netip.AddrPort, nat.Verdict) {
	b.t.Helper()
	p, v := b.Inbound(b.now, nat.Packet{Proto: nat.UDP, Src: src, Dst: dst})
	if !v.Dropped() && p.Src != src {
		b.t.Fatalf("inbound from %v: the source became %v", src, p.Src)
	}
	return p.Dst, v
}

func (b *box) wantIn(src, dst, to netip.AddrPort) {
	b.t.Helper()
	if got, v := b.in(src, dst); v != nat.Forward || got != to {
		b.t.Errorf("inbound %v to %v: %v to %v, want forward to %v", src, dst, v, got, to)
	}
}

func (b *box) wantDrop(src, dst netip.AddrPort, want nat.Verdict) {
	b.t.Helper()
	if _, v := b.in(src, dst); v != want {
		b.t.Errorf("inbound %v to %v: %v, want %v", src, dst, v, want)
	}
}

func TestMapping(t *testing.T) {
	for _, tt := range []struct {
		mapping             nat.Behavior
		sameAddr, otherAddr bool // the mapping is that of the first destination
	}{
		{nat.EndpointIndependent, true, true},
		{nat.AddressDependent, true, false},
		{nat.AddressAndPortDependent, false, false},
	} {
		t.Run(tt.mapping.String(), func(t *testing.T) {
			b := newBox(t, nat.NAT{Mapping: tt.mapping, Ports: nat.RandomPorts})
			first := b.out(x1, a1)
			if again := b.out(x1, a1); again != first {
				t.Errorf("the second packet came from %v, the first from %v", again, first)
			}
			if got := b.out(x1, a2) == first; got != tt.sameAddr {
				t.Errorf("same mapping for the same address: %t, want %t", got, tt.sameAddr)
			}
			if got := b.out(x1, b1) == first; got != tt.otherAddr {
				t.Errorf("same mapping for another address: %t, want %t", got, tt.otherAddr)
			}
			if b.out(x2, a1) == first {
				t.Error("another internal endpoint got the same external one")
			}
		})
	}
}

func TestFiltering(t *testing.T) {
	for _, tt := range []struct {
		filtering           nat.Behavior
		samePort, otherAddr nat.Verdict
	}{
		{nat.EndpointIndependent, nat.Forward, nat.Forward},
		{nat.AddressDependent, nat.Forward, nat.Filtered},
		{nat.AddressAndPortDependent, nat.Filtered, nat.Filtered},
	} {
		for _, mapping := range nat.Behaviors() {
			t.Run(mapping.String()+" "+tt.filtering.String(), func(t *testing.T) {
				b := newBox(t, nat.NAT{Mapping: mapping, Filtering: tt.filtering})
				seen := b.out(x1, a1)
				b.wantIn(a1, seen, x1)
				b.wantDrop(a2, seen, tt.samePort)
				b.wantDrop(b1, seen, tt.otherAddr)
				b.wantDrop(a1, netip.AddrPortFrom(external, seen.Port()+1), nat.NoMapping)
			})
		}
	}
}

// RFC 4787 section 5 speaks of what the internal endpoint has sent, not of what was sent
// through a mapping.
func TestFilterIsTheInternalEndpoints(t *testing.T) {
	b := newBox(t, nat.NAT{Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent})
	toA, toB := b.out(x1, a1), b.out(x1, b1)
	if toA == toB {
		t.Fatal("one mapping for two endpoints")
	}
	b.wantIn(a1, toB, x1)
	b.wantIn(b1, toA, x1)
	b.wantDrop(b2, toA, nat.Filtered)
}

func TestTimeout(t *testing.T) {
	const timeout = 30 * time.Second
	b := newBox(t, nat.NAT{Filtering: nat.AddressAndPortDependent, Timeout: timeout, Ports: nat.RandomPorts})
	first := b.out(x1, a1)
	b.wait(timeout - 1)
	b.out(x1, b1) // refreshes the mapping, not what a1 may send
	b.wantIn(a1, first, x1)
	b.wait(1)
	b.wantDrop(a1, first, nat.Filtered)
	b.wantIn(b1, first, x1) // refreshes nothing
	b.wait(timeout - 1)
	b.wantDrop(b1, first, nat.NoMapping)
	if got := b.Mappings(); got != 0 {
		t.Errorf("%d mappings are left", got)
	}
	if again := b.out(x1, a1); again == first {
		t.Error("the port is the same by chance, or the mapping is not new")
	}
}

func TestPorts(t *testing.T) {
	port := func(b *box, src, dst netip.AddrPort) uint16 { t.Helper(); return b.out(src, dst).Port() }
	t.Run("preserve", func(t *testing.T) {
		b := newBox(t, nat.NAT{})
		if got := port(b, x1, a1); got != x1.Port() {
			t.Errorf("port %d, want %d", got, x1.Port())
		}
		if got := port(b, x3, a1); got == x3.Port() {
			t.Errorf("a port that was taken, %d, was given again", got)
		}
		low := netip.AddrPortFrom(x1.Addr(), 53)
		if got := port(b, low, a1); got < 1024 {
			t.Errorf("port %d is outside of the range", got)
		}
	})
	t.Run("sequential", func(t *testing.T) {
		b := newBox(t, nat.NAT{Ports: nat.SequentialPorts, PortRange: nat.PortRange{Min: 100, Max: 102}, Mapping: nat.AddressAndPortDependent})
		for i, dst := range []netip.AddrPort{a1, a2, b1} {
			if got := port(b, x1, dst); got != 100+uint16(i) {
				t.Errorf("port %d of mapping %d, want %d", got, i, 100+i)
			}
		}
	})
	t.Run("random", func(t *testing.T) {
		b := newBox(t, nat.NAT{Ports: nat.RandomPorts, Mapping: nat.AddressAndPortDependent})
		seen := make(map[uint16]bool)
		for i := range 1000 {
			p := port(b, x1, netip.AddrPortFrom(a1.Addr(), uint16(i+1)))
			if seen[p] || p < 1024 {
				t.Fatalf("port %d: taken or outside of the range", p)
			}
			seen[p] = true
		}
		again := newBox(t, nat.NAT{Ports: nat.RandomPorts, Mapping: nat.AddressAndPortDependent})
		if !seen[port(again, x1, a1)] {
			t.Error("the same seed gave other ports")
		}
	})
	for _, how := range []nat.Ports{nat.PreservePorts, nat.RandomPorts, nat.SequentialPorts} {
		t.Run("exhausted "+how.String(), func(t *testing.T) {
			const timeout = 10 * time.Second
			b := newBox(t, nat.NAT{Ports: how, PortRange: nat.PortRange{Min: 5000, Max: 5003}, Mapping: nat.AddressAndPortDependent, Timeout: timeout})
			for _, dst := range []netip.AddrPort{a1, a2, b1, b2} {
				b.out(x1, dst)
			}
			p := nat.Packet{Proto: nat.UDP, Src: x2, Dst: a1}
			if _, v := b.Outbound(b.now, p); v != nat.Exhausted {
				t.Errorf("with all ports taken: %v, want exhausted", v)
			}
			b.out(x1, a1) // what there is goes on
			p.Proto, p.Flags = nat.TCP, nat.SYN
			if _, v := b.Outbound(b.now, p); v != nat.Forward {
				t.Errorf("TCP, whose ports are its own: %v, want forward", v)
			}
			b.wait(timeout)
			b.out(x2, a1)
		})
	}
}

func TestHairpin(t *testing.T) {
	send := func(b *box, src, dst netip.AddrPort) (nat.Packet, nat.Verdict) {
		return b.Outbound(b.now, nat.Packet{Proto: nat.UDP, Src: src, Dst: dst})
	}
	t.Run("off", func(t *testing.T) {
		b := newBox(t, nat.NAT{})
		if _, v := send(b, x2, b.out(x1, a1)); v != nat.NoHairpin {
			t.Errorf("%v, want no hairpinning", v)
		}
	})
	t.Run("on", func(t *testing.T) {
		b := newBox(t, nat.NAT{Hairpin: true})
		e1, e2 := b.out(x1, a1), b.out(x2, a1)
		p, v := send(b, x2, e1)
		if v != nat.Hairpin || p.Src != e2 || p.Dst != x1 {
			t.Errorf("%v from %v to %v, want hairpin from %v to %v", v, p.Src, p.Dst, e2, x1)
		}
	})
	t.Run("filtered", func(t *testing.T) {
		b := newBox(t, nat.NAT{Hairpin: true, Filtering: nat.AddressAndPortDependent})
		e1, e2 := b.out(x1, a1), b.out(x2, a1)
		if _, v := send(b, x2, e1); v != nat.Filtered {
			t.Errorf("before x1 sent to x2: %v, want filtered", v)
		}
		if p, v := send(b, x1, e2); v != nat.Hairpin || p.Dst != x2 || p.Src != e1 {
			t.Errorf("after x2 sent to x1: %v from %v to %v, want hairpin", v, p.Src, p.Dst)
		}
	})
}

func TestReset(t *testing.T) {
	b := newBox(t, nat.NAT{Ports: nat.RandomPorts})
	first := b.out(x1, a1)
	b.Reset()
	b.wantDrop(a1, first, nat.NoMapping)
	if b.out(x1, a1) == first {
		t.Error("the mapping is still there")
	}
}

func TestNAT64(t *testing.T) {
	inside := netip.MustParseAddrPort("[2001:db8:1::2]:5000")
	server := netip.AddrPortFrom(nat.Embed(a1.Addr()), a1.Port())
	if got := nat.Extract(server.Addr()); got != a1.Addr() {
		t.Fatalf("extract gave %v, want %v", got, a1.Addr())
	}
	b := newBox(t, nat.NAT{NAT64: true, Hairpin: true})
	p, v := b.Outbound(b.now, nat.Packet{Proto: nat.UDP, Src: inside, Dst: server})
	if want := netip.AddrPortFrom(external, 5000); v != nat.Forward || p.Dst != a1 || p.Src != want {
		t.Fatalf("outbound: %v from %v to %v, want from %v to %v", v, p.Src, p.Dst, want, a1)
	}
	p, v = b.Inbound(b.now, nat.Packet{Proto: nat.UDP, Src: a1, Dst: p.Src})
	if v != nat.Forward || p.Src != server || p.Dst != inside {
		t.Errorf("inbound: %v from %v to %v, want from %v to %v", v, p.Src, p.Dst, server, inside)
	}
	itself := netip.AddrPortFrom(nat.Embed(external), 5000)
	p, v = b.Outbound(b.now, nat.Packet{Proto: nat.UDP, Src: inside, Dst: itself})
	if v != nat.Hairpin || p.Src != itself || p.Dst != inside {
		t.Errorf("hairpin: %v from %v to %v, want from %v to %v", v, p.Src, p.Dst, itself, inside)
	}
	native := netip.MustParseAddrPort("[2001:2::1]:80")
	if _, v := b.Outbound(b.now, nat.Packet{Proto: nat.UDP, Src: inside, Dst: native}); v != nat.Untranslated {
		t.Errorf("to an IPv6 server: %v, want not translated", v)
	}
}

func TestTCP(t *testing.T) {
	const synAck = nat.SYN | nat.ACK
	out := func(f nat.Flags) func(*box) {
		return func(b *box) {
			b.t.Helper()
			if _, v := b.Outbound(b.now, nat.Packet{Proto: nat.TCP, Flags: f, Src: x1, Dst: a1}); v != nat.Forward {
				b.t.Errorf("out with flags %#x: %v", f, v)
			}
		}
	}
	in := func(f nat.Flags, from netip.AddrPort, want nat.Verdict) func(*box) {
		return func(b *box) {
			b.t.Helper()
			to := netip.AddrPortFrom(external, x1.Port())
			if _, v := b.Inbound(b.now, nat.Packet{Proto: nat.TCP, Flags: f, Src: from, Dst: to}); v != want {
				b.t.Errorf("in with flags %#x from %v: %v, want %v", f, from, v, want)
			}
		}
	}
	answer := func(f nat.Flags) func(*box) { return in(f, a1, nat.Forward) }
	gone := in(nat.ACK, a1, nat.NoMapping)
	wait := func(d time.Duration) func(*box) { return func(b *box) { b.wait(d) } }
	for _, tt := range []struct {
		name  string
		steps []func(*box)
	}{
		{"others are filtered by connection", []func(*box){out(nat.SYN), in(nat.SYN, a2, nat.Filtered), in(nat.SYN, b1, nat.Filtered), answer(synAck)}},
		{"half open", []func(*box){out(nat.SYN), wait(nat.TransitoryTimeout - 1), answer(synAck), wait(nat.TransitoryTimeout), gone}},
		{"established", []func(*box){out(nat.SYN), answer(synAck), out(nat.ACK), wait(nat.TCPTimeout - 1), answer(nat.ACK), wait(nat.TCPTimeout), gone}},
		{"closed by one side", []func(*box){out(nat.SYN), answer(synAck), out(nat.ACK), answer(nat.FIN | nat.ACK), wait(time.Hour), out(nat.ACK)}},
		{"closed by both", []func(*box){out(nat.SYN), answer(synAck), out(nat.ACK | nat.FIN), answer(nat.FIN | nat.ACK), wait(nat.TransitoryTimeout), gone}},
		{"reset", []func(*box){out(nat.SYN), answer(synAck), out(nat.ACK), answer(nat.RST), wait(nat.TransitoryTimeout), gone}},
		{"connected again from the same port", []func(*box){out(nat.SYN), answer(synAck), out(nat.RST), out(nat.SYN), answer(synAck), out(nat.ACK), wait(time.Hour), answer(nat.ACK)}},
		{"both sides at once", []func(*box){out(nat.SYN), answer(nat.SYN), out(synAck), answer(synAck), wait(time.Hour), answer(nat.ACK)}},
		{"goes on after a reboot", []func(*box){out(nat.SYN), answer(synAck), out(nat.ACK), func(b *box) { b.Reset() }, gone, out(nat.ACK), answer(nat.ACK)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t, nat.NAT{})
			for _, step := range tt.steps {
				step(b)
			}
		})
	}
	t.Run("a connection has one mapping", func(t *testing.T) {
		b := newBox(t, nat.NAT{Mapping: nat.AddressAndPortDependent})
		var ports [2]netip.AddrPort
		for i, dst := range []netip.AddrPort{a1, b1} {
			p, _ := b.Outbound(b.now, nat.Packet{Proto: nat.TCP, Flags: nat.SYN, Src: x1, Dst: dst})
			ports[i] = p.Src
		}
		if _, v := b.Inbound(b.now, nat.Packet{Proto: nat.TCP, Flags: synAck, Src: a1, Dst: ports[1]}); v != nat.Filtered {
			t.Errorf("to the mapping of another connection: %v, want filtered", v)
		}
	})
	t.Run("a reset makes no mapping", func(t *testing.T) {
		b := newBox(t, nat.NAT{})
		if _, v := b.Outbound(b.now, nat.Packet{Proto: nat.TCP, Flags: nat.RST, Src: x1, Dst: a1}); v != nat.NoMapping {
			t.Errorf("%v, want no mapping", v)
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	b := newBox(t, nat.NAT{})
	for i := range nat.MaxSessions {
		b.out(x1, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 3, byte(i >> 15)}), uint16(i&0x7fff)+1))
	}
	if _, v := b.Outbound(b.now, nat.Packet{Proto: nat.UDP, Src: x1, Dst: b1}); v != nat.Full {
		t.Errorf("%v, want table full", v)
	}
	b.wait(nat.DefaultTimeout)
	b.out(x1, b1)
	if got := b.Mappings(); got != 1 {
		t.Errorf("%d mappings, want 1", got)
	}
}

func TestFirewall(t *testing.T) {
	f := nat.NewFirewall(0)
	in := func(now time.Time, want nat.Verdict) {
		t.Helper()
		if v := f.Inbound(now, nat.Packet{Proto: nat.UDP, Src: a1, Dst: x1}); v != want {
			t.Errorf("inbound: %v, want %v", v, want)
		}
	}
	in(start, nat.Filtered)
	if v := f.Outbound(start, nat.Packet{Proto: nat.UDP, Src: x1, Dst: a1}); v != nat.Forward {
		t.Fatalf("outbound: %v", v)
	}
	in(start.Add(nat.DefaultTimeout-1), nat.Forward)
	in(start.Add(nat.DefaultTimeout), nat.Filtered)
	f.Outbound(start, nat.Packet{Proto: nat.UDP, Src: x1, Dst: a1})
	f.Reset()
	in(start, nat.Filtered)
}

func BenchmarkTable(b *testing.B) {
	t := nat.New(nat.NAT{Filtering: nat.AddressAndPortDependent}, external, rand.New(rand.NewPCG(1, 2)))
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		p, _ := t.Outbound(now, nat.Packet{Proto: nat.UDP, Src: x1, Dst: a1})
		if _, v := t.Inbound(now, nat.Packet{Proto: nat.UDP, Src: a1, Dst: p.Src}); v.Dropped() {
			b.Fatal(v)
		}
	}
}
