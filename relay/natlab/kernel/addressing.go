package kernel

import (
	"fmt"
	"net/netip"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/nat"
)

// batch is what `ip -batch` is told in one namespace.
type batch []string

func (b *batch) add(format string, args ...any) { *b = append(*b, fmt.Sprintf(format, args...)) }

// own is for an interface of a host or router in a network: its addresses, and its ways to
// all else. Of several interfaces' ways, that with the lowest metric is taken. by is the
// router itself, "" for a host.
func (p *plan) own(network, dev, by string, addrs []netip.Addr, metric int) batch {
	var b batch
	var has [2]bool
	for _, a := range addrs {
		has[family(a)] = true
		b.address(dev, a, p.prefix(network, family(a)).Bits())
	}
	b.add("link set dev %s up", dev)
	for _, r := range p.into[network] {
		fam := family(r.prefix.Addr())
		if via := p.outside[r.by][fam]; has[fam] && r.by != by && via.IsValid() {
			b.way(r.prefix, via, dev, metric)
		}
	}
	for fam, all := range []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)} {
		prefix := p.prefix(network, fam)
		switch {
		case !has[fam]:
		case p.leads(network, fam):
			b.way(all, gateway(prefix), dev, metric)
		case fam == 1 && p.is64(network):
			b.way(nat.Prefix64, gateway(prefix), dev, metric)
		}
	}
	return b
}

func (b *batch) address(dev string, a netip.Addr, bits int) {
	if a.Is6() {
		b.add("addr add %s/%d dev %s nodad", a, bits, dev)
	} else {
		b.add("addr add %s/%d dev %s", a, bits, dev)
	}
}

func (b *batch) way(to netip.Prefix, via netip.Addr, dev string, metric int) {
	b.add("route replace %s via %s dev %s metric %d", to, via, dev, metric)
}

// inner is for a router's interface towards its inside.
func (p *plan) inner(router string) batch {
	var b batch
	inside := p.top.Routers[router].Inside
	for _, prefix := range p.top.Networks[inside].Prefixes {
		b.address(innerDev, gateway(prefix), prefix.Bits())
	}
	b.add("link set dev %s up", innerDev)
	for _, r := range p.into[inside] {
		if via := p.outside[r.by][family(r.prefix.Addr())]; via.IsValid() {
			b.way(r.prefix, via, innerDev, 100)
		}
	}
	return b
}

// hub is for a network's namespace: the bridge, to which cables come later, and which is up after them. The internet has
// a gateway that leads nowhere, so that what is sent to private addresses gets lost.
func (p *plan) hub(network string) batch {
	var b batch
	b.add("link add name %s type bridge stp_state 0 forward_delay 0 mcast_snooping 0", bridgeDev)
	if network == natlab.Internet {
		for _, prefix := range p.top.Networks[network].Prefixes {
			b.address(bridgeDev, gateway(prefix), prefix.Bits())
		}
	}
	return b
}

// steer sends what a user-space router is to translate to its TUN devices. The external
// address is the router's own; policy rules before the table of own addresses have what is for
// it leave by the TUN device all the same, and the kernel answers ARP for it as a proxy.
func (p *plan) steer(router string) batch {
	var b batch
	r := p.top.Routers[router]
	for _, dev := range []string{tunInner, tunOuter} {
		b.add("link set dev %s mtu 65535 up", dev)
	}
	if inside := p.prefix(r.Inside, 0); inside.IsValid() {
		b.add("route add local %s dev %s table 110", gateway(inside), innerDev)
		b.add("route add %s dev %s table 110", inside, innerDev)
		b.add("route add default dev %s table 110", tunInner)
		b.add("rule add pref 10 iif %s lookup 110", innerDev)
	}
	b.add("route add %s dev %s table 111", p.outside[router][0], tunOuter)
	b.add("rule add pref 11 iif %s lookup 111", outerDev)
	b.add("rule add pref 12 iif %s lookup main", tunInner)
	b.add("rule add pref 13 iif %s lookup main", tunOuter)
	b.add("rule add pref 20 lookup local")
	b.add("rule del pref 0")
	if r.NAT.NAT64 {
		b.add("route add %s dev %s", nat.Prefix64, tunInner)
	}
	return b
}

// The names of interfaces. Those of a bridge's ports have a prefix that keeps them apart
// from these, whatever hosts are called.
const (
	bridgeDev = "br"
	innerDev  = "in"
	outerDev  = "out"
	tunInner  = "tun-in"
	tunOuter  = "tun-out"
)

// port is the bridge's end of a cable to a host or a router's outside, and innerPort that
// to a router's inside.
func port(name string) string      { return "p." + name }
func innerPort(name string) string { return "i." + name }
