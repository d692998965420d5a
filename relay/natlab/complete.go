package natlab

import (
	"maps"
	"net/netip"
)

// Complete returns the topology with what it leaves open filled in, as both engines do: the
// internet, and prefixes for networks that name none. These get one under 192.168.0.0/16
// each, unless their router is a NAT64, and one under 2001:db8::/32 (RFC 3849) where their
// router does something to IPv6. Both are free, and the same for the same topology.
//
// A network that stays without prefixes, since none was free, is found by
// [Topology.Validate].
func (t Topology) Complete() Topology {
	t.Networks = maps.Clone(t.Networks)
	if t.Networks == nil {
		t.Networks = make(map[string]NetworkSpec)
	}
	internet := t.Networks[Internet]
	if len(internet.Prefixes) == 0 {
		internet.Prefixes = []netip.Prefix{Internet4, Internet6}
	}
	t.Networks[Internet] = internet
	free := newFree(t.Networks)
	for _, name := range sorted(t.Networks) {
		n := t.Networks[name]
		if len(n.Prefixes) > 0 {
			continue
		}
		r, _ := t.router(name)
		n.Prefixes = free.prefixes(r)
		t.Networks[name] = n
	}
	return t
}

// free gives prefixes that overlap no other. Those behind different NATs might be the same,
// but are easier to tell apart so.
type free struct {
	taken []netip.Prefix
	next  [2]int // of each family
}

func newFree(networks map[string]NetworkSpec) *free {
	f := &free{next: [2]int{1, 1}}
	for _, n := range networks {
		f.taken = append(f.taken, n.Prefixes...)
	}
	return f
}

// prefixes are those of the inside of a router.
func (f *free) prefixes(r RouterSpec) []netip.Prefix {
	six := r.IPv6 != IPv6None
	four := true
	if r.NAT != nil && r.NAT.NAT64 {
		four, six = false, true
	}
	var got []netip.Prefix
	for fam, wanted := range []bool{four, six} {
		if !wanted {
			continue
		}
		p, ok := f.prefix(fam)
		if !ok {
			return nil
		}
		got = append(got, p)
	}
	return got
}

func (f *free) prefix(fam int) (netip.Prefix, bool) {
	for f.next[fam] < 256 {
		n := byte(f.next[fam])
		f.next[fam]++
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, n, 0}), 24)
		if fam == 1 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, n}), 64)
		}
		if !overlapsAny(p, f.taken) {
			f.taken = append(f.taken, p)
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func overlapsAny(p netip.Prefix, others []netip.Prefix) bool {
	for _, o := range others {
		if p.Overlaps(o) {
			return true
		}
	}
	return false
}
