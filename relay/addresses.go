package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// relayAddress is where relay sockets of one family are. Both addresses are
// invalid when there are none.
type relayAddress struct {
	public netip.Addr // what peers see
	bind   netip.Addr // what sockets are bound to
}

// addresses are those of the relay sockets, by family.
type addresses struct{ four, six relayAddress }

// all returns the addresses that relay sockets have.
func (a addresses) all() []netip.Addr {
	var all []netip.Addr
	for _, r := range []relayAddress{a.four, a.six} {
		for _, addr := range []netip.Addr{r.public, r.bind} {
			if addr.IsValid() && !slices.Contains(all, addr) {
				all = append(all, addr)
			}
		}
	}
	return all
}

// surroundings are what the machine says about its addresses.
type surroundings struct {
	own   []netip.Addr                               // of its interfaces
	route func(to netip.AddrPort) (netip.Addr, bool) // the address from which it sends there
}

// here returns the surroundings of this process.
func here() (surroundings, error) {
	own, err := interfaceAddresses()
	return surroundings{own: own, route: routeFrom}, err
}

func interfaceAddresses() ([]netip.Addr, error) {
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("own addresses: %w", err)
	}
	var own []netip.Addr
	for _, n := range nets {
		if prefix, err := netip.ParsePrefix(n.String()); err == nil {
			own = append(own, prefix.Addr().WithZone("").Unmap())
		}
	}
	return own, nil
}

// routeFrom asks the kernel which address it would send from. Nothing is sent.
func routeFrom(to netip.AddrPort) (netip.Addr, bool) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}, false
	}
	defer conn.Close()
	from := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return from, from.IsValid() && from.Zone() == ""
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

// resolveFamily is resolve for the family that is says.
func (c Config) resolveFamily(s surroundings, listen netip.Addr, is func(netip.Addr) bool, far netip.AddrPort, loopback netip.Addr) (relayAddress, error) {
	public := first(c.PublicAddresses, is)
	if len(c.PublicAddresses) == 0 {
		public = c.guessPublic(s, listen, is, far, loopback)
	}
	if !public.IsValid() {
		return relayAddress{}, nil
	}
	if public.IsLoopback() && !c.Development {
		return relayAddress{}, fmt.Errorf("public_addresses: %v can only be reached from this machine, which makes sense in development alone", public)
	}
	bind := first(c.BindAddresses, is)
	switch {
	case bind.IsValid():
	case public.IsLoopback() || slices.Contains(s.own, public):
		bind = public
	default:
		var ok bool
		if bind, ok = s.route(far); !ok {
			return relayAddress{}, fmt.Errorf("bind_addresses: empty, and %v is not this machine's own: name the address that relay sockets are bound to", public)
		}
	}
	return relayAddress{public: public, bind: bind}, nil
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

func first(addrs []netip.Addr, is func(netip.Addr) bool) netip.Addr {
	for _, a := range addrs {
		if a = a.Unmap(); is(a) {
			return a
		}
	}
	return netip.Addr{}
}
