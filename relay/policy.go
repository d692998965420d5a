package relay

import (
	"net/netip"
	"sync/atomic"
)

// denial is why packets are not relayed to a peer, as a metric's label.
type denial string

const (
	allowed        denial = ""
	deniedAddress  denial = "address"  // no address at all, or one with a zone
	deniedOperator denial = "operator" // in peers.deny
	deniedRange    denial = "range"    // not public unicast, in one of its forms
	deniedUnlisted denial = "unlisted" // not in peers.allow, where peers.mode is listed
	deniedOwn      denial = "own"      // this machine, and no relay address of it
	deniedPort     denial = "port"     // below 1024
)

var denials = []denial{deniedAddress, deniedOperator, deniedRange, deniedUnlisted, deniedOwn, deniedPort}

// forbidden are addresses that no list of the operator's allows: this machine,
// this link, and no machine in particular.
var forbidden = prefixes(
	"0.0.0.0/8",         // this network (RFC 791)
	"127.0.0.0/8",       // loopback (RFC 1122)
	"169.254.0.0/16",    // link-local (RFC 3927), where clouds have their metadata
	"224.0.0.0/4",       // multicast (RFC 5771)
	"240.0.0.0/4",       // reserved (RFC 1112), and limited broadcast
	"::/128", "::1/128", // unspecified, loopback (RFC 4291)
	"fe80::/10", // link-local (RFC 4291)
	"ff00::/8",  // multicast (RFC 4291)
)

// special are the addresses that are neither forbidden nor public, after the
// IANA registries of special-purpose addresses (RFC 6890).
var special = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // private (RFC 1918)
	"100.64.0.0/10",                                     // shared, carrier-grade NAT (RFC 6598)
	"192.0.0.0/24",                                      // protocol assignments (RFC 6890)
	"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", // documentation (RFC 5737)
	"192.31.196.0/24",            // AS112 (RFC 7535)
	"192.52.193.0/24",            // AMT relays (RFC 7450)
	"192.88.99.0/24",             // 6to4 relays (RFC 7526)
	"192.175.48.0/24",            // AS112 (RFC 7534)
	"198.18.0.0/15",              // benchmarks (RFC 2544)
	"2001::/23",                  // protocol assignments, with Teredo (RFC 2928, RFC 4380)
	"2001:db8::/32", "3fff::/20", // documentation (RFC 3849, RFC 9637)
	"2002::/16",         // 6to4 (RFC 3056)
	"2620:4f:8000::/48", // AS112 (RFC 7534)
)

// global is where public IPv6 unicast is (RFC 4291 section 2.4, as IANA assigns
// it). All else is special: ::/96 and ::ffff:0:0:0/96 for embedded IPv4, NAT64
// 64:ff9b::/96 and 64:ff9b:1::/48, discard 100::/64, segment routing 5f00::/16,
// unique local fc00::/7, site-local fec0::/10, and what nobody has.
var global = netip.MustParsePrefix("2000::/3")

// tryable are the special and forbidden addresses that development allows.
// Metadata services are not among them.
var tryable = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "127.0.0.0/8", "::1/128",
)

// minPeerPort is the lowest port that is relayed to: those below belong to
// services that would answer a packet from anybody, such as DNS and NTP.
const minPeerPort = 1024

// policy decides whom packets are relayed to. It may be used by several
// goroutines.
type policy struct {
	// Static after newPolicy.
	allow, deny []netip.Prefix
	listed      bool // to allow alone
	development bool
	relays      []netip.Addr              // the addresses of relay sockets, as peers see them and as bound
	isRelayed   func(netip.AddrPort) bool // reports whether there is an allocation at one of them

	// Replaced as a whole.
	own      atomic.Pointer[map[netip.Addr]bool] // the addresses of this machine
	services atomic.Pointer[map[uint16]bool]     // the ports that the relay listens on
	state    atomic.Uint64                       // another number after each change of these, never 0
}

func newPolicy(c Config, relays []netip.Addr, isRelayed func(netip.AddrPort) bool) *policy {
	p := &policy{allow: c.Peers.Allow, deny: c.Peers.Deny, listed: c.Peers.Mode == PeersListed, development: c.Development, relays: relays, isRelayed: isRelayed}
	p.setOwn(nil)
	p.setServices()
	return p
}

// setOwn says what the addresses of this machine are. Those of relay sockets
// are always among them.
func (p *policy) setOwn(addrs []netip.Addr) {
	own := make(map[netip.Addr]bool, len(addrs)+len(p.relays))
	for _, a := range addrs {
		own[a.Unmap()] = true
	}
	for _, a := range p.relays {
		own[a] = true
	}
	p.own.Store(&own)
	p.state.Add(1)
}

// setServices says which ports the relay listens on.
func (p *policy) setServices(ports ...uint16) {
	services := make(map[uint16]bool, len(ports))
	for _, port := range ports {
		services[port] = true
	}
	p.services.Store(&services)
	p.state.Add(1)
}

// packet judges a packet to peer.
func (p *policy) packet(peer netip.AddrPort) denial {
	addr := peer.Addr().Unmap()
	if d := p.address(addr); d != allowed {
		return d
	}
	if peer.Port() < minPeerPort {
		return deniedPort
	}
	if (*p.own.Load())[addr] && !p.ownPort(addr, peer.Port()) {
		return deniedOwn
	}
	return allowed
}

// judge judges a packet to the peer of a flow, as packet does. What was allowed is until
// the policy changes, but the ports of this machine, which come and go.
func (p *policy) judge(f *flow) denial {
	const own = 1 // in what a flow keeps: the peer is on this machine
	now := p.state.Load() << 1
	switch f.judged.Load() {
	case now:
		return allowed
	case now | own:
		if !p.ownPort(f.peer.Addr(), f.peer.Port()) {
			return deniedOwn
		}
		return allowed
	}
	d := p.packet(f.peer)
	if d != allowed {
		return d
	}
	if (*p.own.Load())[f.peer.Addr()] {
		now |= own
	}
	f.judged.Store(now)
	return allowed
}

// ownPort reports whether a port of this machine may be relayed to: it must be
// another allocation's. In development it may be any but the relay's listeners,
// so that both peers of a call can be on this machine.
func (p *policy) ownPort(addr netip.Addr, port uint16) bool {
	if p.development {
		return !(*p.services.Load())[port]
	}
	return p.isRelay(addr) && p.isRelayed(netip.AddrPortFrom(addr, port))
}

func (p *policy) isRelay(addr netip.Addr) bool {
	for _, r := range p.relays {
		if r == addr {
			return true
		}
	}
	return false
}

// address judges a permission for peer, which has no port (RFC 8656 section 9).
func (p *policy) address(peer netip.Addr) denial {
	var buf [maxForms]netip.Addr
	forms := appendForms(buf[:0], peer)
	if len(forms) == 0 {
		return deniedAddress
	}
	for _, f := range forms {
		if within(p.deny, f) {
			return deniedOperator
		}
	}
	if p.listed {
		for _, f := range forms {
			if !within(p.allow, f) {
				return deniedUnlisted
			}
		}
	}
	own := *p.own.Load()
	if own[forms[0]] {
		if p.development || p.isRelay(forms[0]) {
			return allowed // and packet looks at the port
		}
		return deniedOwn
	}
	for _, f := range forms[1:] {
		if own[f] {
			return deniedOwn
		}
	}
	for _, f := range forms {
		if !p.public(f) {
			return deniedRange
		}
	}
	return allowed
}

// public reports whether a form of an address is public unicast, or an
// exception.
func (p *policy) public(f netip.Addr) bool {
	switch {
	case p.development && within(tryable, f):
		return true
	case within(forbidden, f):
		return false
	case within(p.allow, f):
		return true
	}
	return (f.Is4() || global.Contains(f)) && !within(special, f)
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, n := range list {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}
