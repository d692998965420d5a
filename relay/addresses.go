package relay

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// relayAddress is one at which relay sockets are.
type relayAddress struct {
	public netip.Addr // what peers see
	bind   netip.Addr // what sockets are bound to
	ports  *ports
}

// addresses are those of the relay sockets, by family.
type addresses struct{ four, six []relayAddress }

// all returns the addresses that relay sockets have.
func (a addresses) all() []netip.Addr {
	var all []netip.Addr
	for _, r := range a.each() {
		for _, addr := range []netip.Addr{r.public, r.bind} {
			if !slices.Contains(all, addr) {
				all = append(all, addr)
			}
		}
	}
	return all
}

func (a addresses) each() []relayAddress { return slices.Concat(a.four, a.six) }

// unasked returns the addresses for a client that asks for no family: IPv4 (RFC 8656
// section 7.2), whatever its own, for it reaches peers with IPv6 by itself if at all, and
// needs the relay for those with IPv4 alone. A relay that has none gives what it has.
func (a addresses) unasked() []relayAddress {
	if len(a.four) > 0 {
		return a.four
	}
	return a.six
}

// leastUsed returns the address that has most ports free, or nothing when none
// has any.
func leastUsed(list []relayAddress) (at relayAddress, ok bool) {
	most := 0
	for _, r := range list {
		if n := r.ports.left(); n > most {
			at, most, ok = r, n, true
		}
	}
	return at, ok
}

// inUse reports whether there is an allocation at an address, as peers see it or
// as its socket is bound.
func (a addresses) inUse(at netip.AddrPort) bool {
	for _, list := range [][]relayAddress{a.four, a.six} {
		for _, r := range list {
			if (r.public == at.Addr() || r.bind == at.Addr()) && r.ports.inUse(at.Port()) {
				return true
			}
		}
	}
	return false
}

// inward turns the address that peers see of another relay socket of ours into
// the one that it is bound to, and outward turns it back: behind a cloud's NAT
// the relay could not reach itself otherwise, when both sides of a call are on it.
func (a addresses) inward(peer netip.AddrPort) netip.AddrPort {
	for _, r := range a.ofFamily(peer.Addr()) {
		if r.public == peer.Addr() {
			return netip.AddrPortFrom(r.bind, peer.Port())
		}
	}
	return peer
}

func (a addresses) outward(from netip.AddrPort) netip.AddrPort {
	addr := from.Addr().Unmap()
	for _, r := range a.ofFamily(addr) {
		if r.bind == addr && r.bind != r.public && r.ports.inUse(from.Port()) {
			addr = r.public
			break
		}
	}
	return netip.AddrPortFrom(addr, from.Port())
}

func (a addresses) ofFamily(addr netip.Addr) []relayAddress {
	if addr.Is4() {
		return a.four
	}
	return a.six
}

// surroundings are what the relay's host says about its addresses.
type surroundings struct {
	own   []netip.Addr                               // of its interfaces
	route func(to netip.AddrPort) (netip.Addr, bool) // the address from which it sends there
}

// around returns the surroundings of a relay in a network.
func around(n network) (surroundings, error) {
	own, err := n.addresses()
	return surroundings{own: own, route: n.from}, err
}

// Some address of each family that is far away; the roots of the DNS.
var (
	farFour = netip.MustParseAddrPort("198.41.0.4:53")
	farSix  = netip.MustParseAddrPort("[2001:503:ba3e::2:30]:53")
)

// resolve finds the addresses of relay sockets, as [Config.PublicAddresses] and
// [Config.BindAddresses] say.
func (c Config) resolve(s surroundings) (addresses, error) {
	listen, err := parseListen(c.Listen)
	if err != nil {
		return addresses{}, fmt.Errorf("listen: %w", err)
	}
	var a addresses
	four, errFour := c.resolveFamily(s, listen.Addr(), netip.Addr.Is4, farFour, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	six, errSix := c.resolveFamily(s, listen.Addr(), netip.Addr.Is6, farSix, netip.IPv6Loopback())
	a.four, a.six = four, six
	if err := errors.Join(errFour, errSix); err != nil {
		return addresses{}, err
	}
	if len(a.all()) == 0 {
		return addresses{}, errors.New("public_addresses: empty, and this machine has no public address: name those at which peers reach it")
	}
	return a, nil
}

// resolveFamily is resolve for the family that is says. The addresses that peers
// see and those that sockets are bound to belong together in their order.
func (c Config) resolveFamily(s surroundings, listen netip.Addr, is func(netip.Addr) bool, far netip.AddrPort, loopback netip.Addr) ([]relayAddress, error) {
	public, bind := family(c.PublicAddresses, is), family(c.BindAddresses, is)
	if len(c.PublicAddresses) == 0 {
		if guess := c.guessPublic(s, listen, is, far, loopback); guess.IsValid() {
			public = append(public, guess)
		}
	}
	if len(bind) > 0 && len(public) > 0 && len(bind) != len(public) {
		return nil, fmt.Errorf("bind_addresses: %d for %d public ones of a family (%v); they belong together in their order", len(bind), len(public), public)
	}
	var list []relayAddress
	for i, p := range public {
		if p.IsLoopback() && !c.Development {
			return nil, fmt.Errorf("public_addresses: %v can only be reached from this machine, which makes sense in development alone", p)
		}
		r := relayAddress{public: p, ports: newPorts(c.Ports)}
		switch {
		case len(bind) > 0:
			r.bind = bind[i]
		case p.IsLoopback() || slices.Contains(s.own, p):
			r.bind = p
		default:
			var ok bool
			if r.bind, ok = s.route(far); !ok {
				return nil, fmt.Errorf("bind_addresses: empty, and %v is not this machine's own: name the address that relay sockets are bound to", p)
			}
		}
		for _, other := range list {
			if other.bind == r.bind {
				return nil, fmt.Errorf("bind_addresses: %v would be that of both %v and %v; each needs its own", r.bind, other.public, p)
			}
		}
		list = append(list, r)
	}
	return list, nil
}

// guessPublic returns the address that peers see when none is configured: the
// one that the relay listens on, or, when that is all, the one from which the
// machine reaches the internet. It must be public but in development, where
// loopback does, too, on a machine without a network.
func (c Config) guessPublic(s surroundings, listen netip.Addr, is func(netip.Addr) bool, far netip.AddrPort, loopback netip.Addr) netip.Addr {
	guess := listen
	if listen.IsUnspecified() {
		if listen.Is4() && !is(listen) {
			return netip.Addr{} // 0.0.0.0 is all of IPv4
		}
		var ok bool
		if guess, ok = s.route(far); !ok && slices.Contains(s.own, loopback) {
			guess = loopback
		}
	}
	public := newPolicy(Config{}, nil, nil).address(guess) == allowed
	if !guess.IsValid() || !is(guess) || !public && !c.Development {
		return netip.Addr{}
	}
	return guess
}

// family returns those of addrs that is says.
func family(addrs []netip.Addr, is func(netip.Addr) bool) (list []netip.Addr) {
	for _, a := range addrs {
		if a = a.Unmap(); is(a) {
			list = append(list, a)
		}
	}
	return list
}
