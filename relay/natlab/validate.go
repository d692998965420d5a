package natlab

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// MaxName is how long the name of a network, router or host may be: interfaces of the
// kernel are named after them.
const MaxName = 12

// Validate names everything that is wrong, one error each, joined: nil means that
// [Build] takes the topology.
func (t Topology) Validate() error {
	c := checker{t: t.Complete(), usedBy: make(map[string]string)}
	c.networks()
	c.routers()
	c.hosts()
	if len(c.errs) == 0 { // else there may be no tree to walk
		c.overlaps()
		c.room()
	}
	return errors.Join(c.errs...)
}

type checker struct {
	t      Topology
	usedBy map[string]string // what has a name
	errs   []error
}

func (c *checker) bad(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// wrap puts where in front of each error joined in err.
func (c *checker) wrap(where string, err error) {
	if err == nil {
		return
	}
	each := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		each = joined.Unwrap()
	}
	for _, e := range each {
		c.bad("%s: %w", where, e)
	}
}

func (c *checker) name(kind, name string) string {
	where := fmt.Sprintf("%s %q", kind, name)
	if !validName(name) {
		c.bad("%s: a name is 1 to %d of a-z, 0-9 and hyphens", where, MaxName)
	}
	if other, taken := c.usedBy[name]; taken {
		c.bad("%s: the name is that of a %s, too", where, other)
	}
	c.usedBy[name] = kind
	return where
}

func validName(name string) bool {
	if len(name) == 0 || len(name) > MaxName {
		return false
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}

func (c *checker) networks() {
	for _, name := range sorted(c.t.Networks) {
		n := c.t.Networks[name]
		where := c.name("network", name)
		c.wrap(where+": link", n.Link.Validate())
		if len(n.Prefixes) == 0 {
			c.bad("%s: no prefix is free for it", where)
		}
		c.families(where, n.Prefixes)
	}
}

func (c *checker) families(where string, prefixes []netip.Prefix) {
	count := [2]int{}
	for _, p := range prefixes {
		switch {
		case !p.IsValid(), p.Addr().Is4In6():
			c.bad("%s: prefix %v is not one", where, p)
			continue
		case p != p.Masked():
			c.bad("%s: prefix %v has bits set behind its length; %v is meant?", where, p, p.Masked())
		case p.Overlaps(NAT64):
			c.bad("%s: prefix %v is that of NAT64", where, p)
		case p.Addr().IsLoopback(), p.Addr().IsMulticast(), p.Addr().IsLinkLocalUnicast():
			c.bad("%s: prefix %v is not for hosts", where, p)
		}
		count[family(p.Addr())]++
	}
	for f, n := range count {
		if n > 1 {
			c.bad("%s: %d prefixes of IPv%d; there may be one", where, n, []int{4, 6}[f])
		}
	}
}

// family is 0 for IPv4 and 1 for IPv6.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

func (c *checker) routers() {
	leads := make(map[string]string) // the router of an inside
	for _, name := range sorted(c.t.Routers) {
		r := c.t.Routers[name]
		where := c.name("router", name)
		c.known(where+": inside", r.Inside)
		c.known(where+": outside", r.Outside)
		if r.Inside == Internet {
			c.bad("%s: the internet is nobody's inside", where)
		}
		if other, taken := leads[r.Inside]; taken {
			c.bad("%s: network %q has a router already, %q", where, r.Inside, other)
		}
		leads[r.Inside] = name
		c.router(where, r)
	}
	c.cycles(leads)
}

func (c *checker) router(where string, r RouterSpec) {
	if r.NAT != nil {
		c.wrap(where+": nat", r.NAT.Validate())
	}
	switch r.IPv6 {
	case IPv6None, IPv6Routed, IPv6Blackhole:
	default:
		c.bad("%s: ipv6: %q is neither %q nor %q", where, r.IPv6, IPv6Routed, IPv6Blackhole)
	}
	if slices.Contains(r.Firewall.TCPPorts, 0) {
		c.bad("%s: firewall: tcp_ports: 0 is no port", where)
	}
	in, out := c.t.Networks[r.Inside].Prefixes, c.t.Networks[r.Outside].Prefixes
	switch {
	case len(in) == 0 || len(out) == 0:
	case r.NAT != nil && !has(out, 0):
		c.bad("%s: network %q has no IPv4 prefix for the NAT's outside", where, r.Outside)
	case r.NAT != nil && r.NAT.NAT64 && !has(in, 1):
		c.bad("%s: network %q has no IPv6 prefix for NAT64", where, r.Inside)
	case r.IPv6 == IPv6Routed && !has(out, 1):
		c.bad("%s: network %q has no IPv6 prefix to route to", where, r.Outside)
	case r.IPv6 != IPv6None && !has(in, 1):
		c.bad("%s: network %q has no IPv6 prefix for what ipv6 says", where, r.Inside)
	}
}

func has(prefixes []netip.Prefix, fam int) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return family(p.Addr()) == fam })
}

// cycles finds networks that lead to themselves.
func (c *checker) cycles(leads map[string]string) {
	for _, name := range sorted(c.t.Networks) {
		at := name
		for range len(c.t.Networks) {
			router, ok := leads[at]
			if !ok {
				break
			}
			if at = c.t.Routers[router].Outside; at == name {
				c.bad("network %q: its routers lead back to it", name)
				break
			}
		}
	}
}

func (c *checker) hosts() {
	for _, name := range sorted(c.t.Hosts) {
		h := c.t.Hosts[name]
		where := c.name("host", name)
		if len(h.Networks) == 0 {
			c.bad("%s: it is in no network", where)
		}
		seen := make(map[string]bool)
		for _, n := range h.Networks {
			c.known(where, n)
			if seen[n] {
				c.bad("%s: network %q is named twice", where, n)
			}
			seen[n] = true
		}
	}
}

func (c *checker) known(where, network string) {
	if _, ok := c.t.Networks[network]; !ok {
		c.bad("%s: network %q is unknown", where, network)
	}
}

// overlaps finds prefixes that somebody could not tell apart. Behind different NATs, the
// same ones may be used.
func (c *checker) overlaps() {
	names := sorted(c.t.Networks)
	for i, a := range names {
		for _, b := range names[i+1:] {
			for _, p := range c.t.Networks[a].Prefixes {
				for _, q := range c.t.Networks[b].Prefixes {
					if p.Overlaps(q) && (c.meets(a, b, p) || c.meets(b, a, q)) {
						c.bad("network %q: prefix %v overlaps %v of network %q", b, q, p, a)
					}
				}
			}
		}
	}
}

// meets is whether prefix p of network a is known in b, or in a network that b's hosts
// reach.
func (c *checker) meets(a, b string, p netip.Prefix) bool {
	above := c.t.above(b)
	for _, n := range append([]string{a}, c.t.knows(a, p)...) {
		if slices.Contains(above, n) {
			return true
		}
	}
	return false
}

// room is whether the prefixes have addresses for all that may come to be in them.
func (c *checker) room() {
	need := make(map[string]int)
	for _, r := range c.t.Routers {
		need[r.Outside]++
	}
	for _, h := range c.t.Hosts {
		for _, n := range h.Networks {
			need[n]++
		}
	}
	for _, name := range sorted(c.t.Networks) {
		for _, p := range c.t.Networks[name].Prefixes {
			// The first is the network's, the second the router's, the last for broadcasts.
			bits := p.Addr().BitLen() - p.Bits()
			if bits < 31 && need[name] > 1<<bits-3 {
				c.bad("network %q: prefix %v is too small for %d addresses", name, p, need[name])
			}
		}
	}
}

// router is the one that leads out of a network.
func (t Topology) router(network string) (RouterSpec, bool) {
	for _, r := range t.Routers {
		if r.Inside == network {
			return r, true
		}
	}
	return RouterSpec{}, false
}

// above are the network itself and those on the way to the internet. There must be no cycles.
func (t Topology) above(network string) []string {
	on := []string{network}
	for r, ok := t.router(network); ok; r, ok = t.router(r.Outside) {
		on = append(on, r.Outside)
	}
	return on
}

// knows are the networks outside that know the way to prefix p of a network, because
// nothing translates between.
func (t Topology) knows(network string, p netip.Prefix) []string {
	var on []string
	for r, ok := t.router(network); ok && r.routes(family(p.Addr())); r, ok = t.router(r.Outside) {
		on = append(on, r.Outside)
	}
	return on
}

// routes is whether packets of a family pass untranslated.
func (r RouterSpec) routes(fam int) bool {
	if fam == 0 {
		return r.NAT == nil
	}
	return r.IPv6 == IPv6Routed
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
