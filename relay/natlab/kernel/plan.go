package kernel

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/nat"
)

// pair is an address of IPv4 and one of IPv6; either may be the zero value.
type pair [2]netip.Addr

// plan says which address everything has and which way it sends, with the same addresses
// as in the virtual engine.
type plan struct {
	top     natlab.Topology // complete
	next    map[string]pair // the next free addresses of a network
	outside map[string]pair // of a router, in its outer network
	leases  map[place]pair
	leading map[string]string  // the router that leads out of a network
	into    map[string][]route // the ways into others, for all who are in a network
	stun    [2]pair            // of the probes' server, on the internet
}

// place is a host in a network.
type place struct{ host, network string }

// route is the way to a prefix that nothing translates.
type route struct {
	prefix netip.Prefix
	by     string // a router whose outside is in the network
}

// newPlan gives the addresses. The error is that of [natlab.Topology.Validate].
func newPlan(t natlab.Topology) (*plan, error) {
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	p := &plan{
		top:     t.Complete(),
		next:    make(map[string]pair),
		outside: make(map[string]pair),
		leases:  make(map[place]pair),
		leading: make(map[string]string),
		into:    make(map[string][]route),
	}
	for name, n := range p.top.Networks {
		var first pair
		for _, prefix := range n.Prefixes {
			first[family(prefix.Addr())] = gateway(prefix).Next()
		}
		p.next[name] = first
	}
	for name, r := range p.top.Routers {
		p.leading[r.Inside] = name
	}
	for _, name := range p.outsideFirst() {
		p.outside[name] = p.take(p.top.Routers[name].Outside)
		p.announce(name)
	}
	p.lease()
	p.stun = [2]pair{p.take(natlab.Internet), p.take(natlab.Internet)}
	return p, nil
}

// lease gives hosts their addresses: first in the networks where they are, then in those
// where they may come to be.
func (p *plan) lease() {
	for _, first := range []bool{true, false} {
		for _, host := range sorted(p.top.Hosts) {
			for i, network := range p.top.Hosts[host].Networks {
				if (i == 0) == first {
					p.leases[place{host, network}] = p.take(network)
				}
			}
		}
	}
}

func (p *plan) take(network string) pair {
	got := p.next[network]
	next := got
	for f, a := range got {
		if a.IsValid() {
			next[f] = a.Next()
		}
	}
	p.next[network] = next
	return got
}

// outsideFirst are the routers, each after those nearer to the internet.
func (p *plan) outsideFirst() []string {
	names := sorted(p.top.Routers)
	depth := make(map[string]int)
	for _, name := range names {
		for r, ok := name, true; ok; r, ok = p.leading[p.top.Routers[r].Outside] {
			depth[name]++
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return depth[a] - depth[b] })
	return names
}

// announce tells the networks outside the way to prefixes that nothing translates.
func (p *plan) announce(name string) {
	for _, prefix := range p.top.Networks[p.top.Routers[name].Inside].Prefixes {
		for up, ok := name, true; ok && routes(p.top.Routers[up], family(prefix.Addr())); {
			out := p.top.Routers[up].Outside
			p.into[out] = append(p.into[out], route{prefix, up})
			up, ok = p.leading[out]
		}
	}
}

// routes is whether packets of a family pass untranslated.
func routes(r natlab.RouterSpec, fam int) bool {
	if fam == 0 {
		return r.NAT == nil
	}
	return r.IPv6 == natlab.IPv6Routed
}

// prefix is a network's of a family, the zero value if there is none.
func (p *plan) prefix(network string, fam int) netip.Prefix {
	for _, prefix := range p.top.Networks[network].Prefixes {
		if family(prefix.Addr()) == fam {
			return prefix
		}
	}
	return netip.Prefix{}
}

// leads is whether those in a network believe in a way out to all addresses of a family.
func (p *plan) leads(network string, fam int) bool {
	r, ok := p.leading[network]
	switch {
	case network == natlab.Internet:
		return true
	case !ok:
		return false
	}
	return fam == 0 || p.top.Routers[r].IPv6 != natlab.IPv6None
}

// is64 is whether a NAT64 leads out of the network.
func (p *plan) is64(network string) bool {
	r, ok := p.leading[network]
	return ok && p.top.Routers[r].NAT != nil && p.top.Routers[r].NAT.NAT64
}

// clients is how many come to be seen from the outside of a router: the hosts that are or
// may come to be inside, and those behind the inside's other routers.
func (p *plan) clients(router string) []netip.Addr {
	inside := p.top.Routers[router].Inside
	var all []netip.Addr
	for at, addrs := range p.leases {
		if at.network == inside && addrs[0].IsValid() {
			all = append(all, addrs[0])
		}
	}
	for name, r := range p.top.Routers {
		if r.Outside != inside {
			continue
		}
		if r.NAT != nil {
			all = append(all, p.outside[name][0])
		} else {
			all = append(all, p.clients(name)...)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// gateway is where a network's router is.
func gateway(prefix netip.Prefix) netip.Addr { return prefix.Addr().Next() }

// tells is what a host in some networks is told of addresses: behind a NAT64, it gets
// IPv6 addresses for IPv4 ones (RFC 6147), and none of IPv6 that is not routed.
func (p *plan) tells(host string, networks []string, addrs []netip.Addr) []netip.Addr {
	has, leads, dns64 := [2]bool{}, false, false
	var own []netip.Prefix
	for _, n := range networks {
		for f, a := range p.leases[place{host, n}] {
			has[f] = has[f] || a.IsValid()
		}
		leads = leads || p.leads(n, 1)
		dns64 = dns64 || p.is64(n)
		own = append(own, p.top.Networks[n].Prefixes...)
	}
	near := func(a netip.Addr) bool {
		return slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	var all []netip.Addr
	for _, a := range addrs {
		if a.Is6() && has[1] && (leads || near(a)) {
			all = append(all, a)
		}
	}
	sixes := len(all) > 0
	for _, a := range addrs {
		switch {
		case a.Is6():
		case has[0]:
			all = append(all, a)
		case dns64 && !sixes:
			all = append(all, nat.Embed(a))
		}
	}
	return all
}

// family is 0 for IPv4 and 1 for IPv6.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// valid are those of a pair that are addresses.
func (a pair) valid() []netip.Addr {
	return slices.DeleteFunc(slices.Clone(a[:]), func(a netip.Addr) bool { return !a.IsValid() })
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
