package theory

import (
	"fmt"
	"net/netip"
	"slices"

	"switchboard/relay/natlab"
)

// The ports of relays.
const (
	relayPort = 3478
	tlsPort   = 443
)

// side is how a host reaches the internet.
type side struct {
	host     string
	networks []string // from its own to the internet
	routers  []natlab.RouterSpec
	topology natlab.Topology
}

// newSide follows the routers from the first of a host's networks.
func newSide(t natlab.Topology, host string) (side, error) {
	h, ok := t.Hosts[host]
	if !ok || len(h.Networks) == 0 {
		return side{}, fmt.Errorf("host %s is in no network", host)
	}
	s := side{host: host, topology: t, networks: []string{h.Networks[0]}}
	for at := h.Networks[0]; at != natlab.Internet; {
		r, ok := routerOf(t, at)
		if !ok || slices.Contains(s.networks, r.Outside) {
			break // an island: no way to the internet
		}
		s.routers, s.networks, at = append(s.routers, r), append(s.networks, r.Outside), r.Outside
	}
	return s, nil
}

func routerOf(t natlab.Topology, inside string) (natlab.RouterSpec, bool) {
	for _, r := range t.Routers {
		if r.Inside == inside {
			return r, true
		}
	}
	return natlab.RouterSpec{}, false
}

// below is the side up to a network that it passes.
func (s side) below(network string) side {
	i := slices.Index(s.networks, network)
	return side{host: s.host, topology: s.topology, networks: s.networks[:i+1], routers: s.routers[:i]}
}

// meet is the first network that both pass; "" if there is none.
func meet(a, b side) string {
	for _, n := range a.networks {
		if slices.Contains(b.networks, n) {
			return n
		}
	}
	return ""
}

func (s side) nats() []natlab.NAT {
	var list []natlab.NAT
	for _, r := range s.routers {
		if r.NAT != nil {
			list = append(list, *r.NAT)
		}
	}
	return list
}

// behavior is that of all NATs on the way, as if they were one: each is passed, so the
// strictest counts. That is so where the inner ones map endpoint-independently; sure is
// false where it might not be.
func (s side) behavior() (mapping, filtering natlab.Behavior, sure bool) {
	sure = true
	for _, n := range s.nats() {
		if mapping != natlab.EndpointIndependent && n.Filtering == natlab.AddressDependent {
			sure = false // it filters for each inner mapping, not for the phone's endpoint
		}
		mapping, filtering = max(mapping, n.Mapping), max(filtering, n.Filtering)
	}
	return mapping, filtering, sure || filtering != natlab.AddressDependent
}

func (s side) blocksUDP() bool {
	return slices.ContainsFunc(s.routers, func(r natlab.RouterSpec) bool { return r.Firewall.BlockUDP })
}

func (s side) permitsTCP(port uint16) bool {
	return !slices.ContainsFunc(s.routers, func(r natlab.RouterSpec) bool {
		return len(r.Firewall.TCPPorts) > 0 && !slices.Contains(r.Firewall.TCPPorts, port)
	})
}

// ipv4 is whether the host has an IPv4 address.
func (s side) ipv4() bool { return hasFamily(s.topology, s.networks[0], true) }

// nat64 is whether IPv4 servers are reached over IPv6.
func (s side) nat64() bool {
	return slices.ContainsFunc(s.nats(), func(n natlab.NAT) bool { return n.NAT64 })
}

// ipv6 is whether the host has a global IPv6 address whose packets get to the end of the
// side.
func (s side) ipv6() bool {
	for i, r := range s.routers {
		if r.IPv6 != natlab.IPv6Routed || !hasFamily(s.topology, s.networks[i], false) {
			return false
		}
	}
	return hasFamily(s.topology, s.networks[len(s.networks)-1], false)
}

func hasFamily(t natlab.Topology, network string, four bool) bool {
	return slices.ContainsFunc(t.Networks[network].Prefixes, func(p netip.Prefix) bool { return p.Addr().Is4() == four })
}

// relay is the best way to a relay.
func (s side) relay() Path {
	reached := s.networks[len(s.networks)-1] == natlab.Internet && (s.ipv4() || s.nat64() || s.ipv6())
	switch {
	case !reached:
		return None
	case !s.blocksUDP():
		return RelayUDP
	case s.permitsTCP(relayPort):
		return RelayTCP
	case s.permitsTCP(tlsPort):
		return RelayTLS
	}
	return None
}
