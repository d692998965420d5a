package nat_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"switchboard/relay/natlab/nat"
)

// FuzzTable has few endpoints send to each other through a NAT with few ports, and keeps
// books beside it: what went out when, and from which port.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{2, 2, 1, 1, 7, 0x80, 0x91, 0xff, 3, 4, 200, 6, 7, 0x81, 0x82})
	f.Add([]byte{1, 1, 2, 0, 1, 0x11, 0x12, 0x13, 0x81, 0x93, 0xa1, 250, 0x11})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 5 {
			return
		}
		n := nat.NAT{
			Mapping:   nat.Behavior(in[0] % 3),
			Filtering: nat.Behavior(in[1] % 3),
			Ports:     nat.Ports(in[2] % 3),
			Hairpin:   in[3]%2 == 1,
			PortRange: nat.PortRange{Min: 4999, Max: 4999 + uint16(in[4]%8)},
			Timeout:   10 * time.Second,
		}
		books := &books{t: t, nat: n, sent: make(map[flow]time.Time), seen: make(map[flow]netip.AddrPort)}
		table := nat.New(n, external, rand.New(rand.NewPCG(1, 2)))
		now := start
		for _, b := range in[5:] {
			now = now.Add(time.Duration(b>>6) * time.Second)
			src, dst := insides[b&3], remotes[b>>2&3]
			p := nat.Packet{Proto: nat.UDP, Src: src, Dst: dst}
			if b&0x10 == 0 {
				got, v := table.Outbound(now, p)
				books.out(now, p, got, v)
				continue
			}
			p.Src, p.Dst = dst, netip.AddrPortFrom(external, n.PortRange.Min+uint16(b&7))
			got, v := table.Inbound(now, p)
			books.in(now, p, got, v)
		}
	})
}

var (
	insides = []netip.AddrPort{x1, x2, x3, netip.AddrPortFrom(x1.Addr(), 5001)}
	remotes = []netip.AddrPort{a1, a2, b1, netip.AddrPortFrom(external, 5000)}
)

type flow struct{ internal, remote netip.AddrPort }

type books struct {
	t    *testing.T
	nat  nat.NAT
	sent map[flow]time.Time
	seen map[flow]netip.AddrPort
}

func (b *books) live(now time.Time, f flow) bool {
	at, ok := b.sent[f]
	return ok && now.Sub(at) < b.nat.Timeout
}

func (b *books) out(now time.Time, p, got nat.Packet, v nat.Verdict) {
	f := flow{p.Src, p.Dst}
	if !b.live(now, f) {
		delete(b.seen, f)
	}
	switch v {
	case nat.NoHairpin, nat.Exhausted:
		if b.live(now, f) {
			b.t.Fatalf("a live session got the verdict %v", v)
		}
		return
	case nat.Hairpin, nat.NoMapping, nat.Filtered:
		if p.Dst.Addr() != external || !b.nat.Hairpin {
			b.t.Fatalf("outbound to %v: %v", p.Dst, v)
		}
		b.sent[f] = now
		if v == nat.Hairpin {
			b.port(now, f, got.Src)
		}
		return
	}
	b.sent[f] = now
	if got.Dst != p.Dst {
		b.t.Fatalf("the destination became %v", got.Dst)
	}
	b.port(now, f, got.Src)
}

// port holds the port that a session got against those of all live ones.
func (b *books) port(now time.Time, f flow, seen netip.AddrPort) {
	if seen.Addr() != external || seen.Port() < b.nat.PortRange.Min || seen.Port() > b.nat.PortRange.Max {
		b.t.Fatalf("external endpoint %v", seen)
	}
	for g, other := range b.seen {
		if !b.live(now, g) {
			continue
		}
		if same := b.sameMapping(f, g); same != (other == seen) {
			b.t.Fatalf("%v to %v from %v, %v to %v from %v", f.internal, f.remote, seen, g.internal, g.remote, other)
		}
	}
	b.seen[f] = seen
}

func (b *books) sameMapping(f, g flow) bool {
	return f.internal == g.internal && reaches(b.nat.Mapping, f.remote, g.remote)
}

func reaches(by nat.Behavior, x, y netip.AddrPort) bool {
	switch by {
	case nat.EndpointIndependent:
		return true
	case nat.AddressDependent:
		return x.Addr() == y.Addr()
	}
	return x == y
}

func (b *books) in(now time.Time, p, got nat.Packet, v nat.Verdict) {
	owner, mapped := netip.AddrPort{}, false
	for f, seen := range b.seen {
		if seen == p.Dst && b.live(now, f) {
			owner, mapped = f.internal, true
		}
	}
	permitted := false
	for f := range b.sent {
		if f.internal == owner && b.live(now, f) && reaches(b.nat.Filtering, f.remote, p.Src) {
			permitted = true
		}
	}
	switch {
	case v == nat.Forward && mapped && (!permitted || got.Dst != owner || got.Src != p.Src):
		b.t.Fatalf("%v to %v went to %v, the mapping of %v; permitted: %t", p.Src, p.Dst, got.Dst, owner, permitted)
	case v != nat.Forward && mapped && permitted:
		b.t.Fatalf("%v to %v of %v: %v", p.Src, p.Dst, owner, v)
	}
}
