package kernel

import (
	"fmt"
	"net/netip"

	"switchboard/relay/natlab"
)

// Routers is what translates in a lab.
type Routers string

const (
	// AutoRouters is nftables where it does all that the NAT is to do, and else the
	// user-space router. It is the zero value.
	AutoRouters Routers = ""
	// NFTRouters is nftables. A NAT that it cannot express is an error of Build.
	NFTRouters Routers = "nft"
	// TUNRouters is the user-space router, for every NAT.
	TUNRouters Routers = "tun"
)

// Choice is what does a router's work, for a report to say so.
type Choice struct {
	// How is "nft", "tun", or "route" where nothing is translated.
	How string
	// Why is a sentence without its full stop.
	Why string
}

// choose decides for a router. The client is that of nftables' rule for what comes in without
// a connection, if there is such a rule.
func (p *plan) choose(router string, how Routers) (Choice, netip.Addr, error) {
	r := p.top.Routers[router]
	if r.NAT == nil {
		return Choice{"route", "nothing is translated: the kernel routes, and nftables filters"}, netip.Addr{}, nil
	}
	client, why := p.expressible(router)
	switch {
	case how == TUNRouters:
		return Choice{"tun", "the user-space router was asked for"}, netip.Addr{}, nil
	case why == nil:
		return Choice{"nft", "conntrack does all that this NAT is to do"}, client, nil
	case how == NFTRouters:
		return Choice{}, netip.Addr{}, fmt.Errorf("router %q: nftables cannot be this NAT: %w", router, why)
	}
	return Choice{"tun", "nftables cannot be this NAT: " + why.Error()}, netip.Addr{}, nil
}

// expressible is why nftables cannot be the NAT. conntrack keeps the port while that is
// free, for each remote endpoint on its own, and lets in what belongs to a connection.
func (p *plan) expressible(router string) (client netip.Addr, why error) {
	n := *p.top.Routers[router].NAT
	clients := p.clients(router)
	switch {
	case n.NAT64:
		return client, fmt.Errorf("NAT64")
	case n.Hairpin:
		return client, fmt.Errorf("hairpinning")
	case n.PortRange != natlab.PortRange{}:
		return client, fmt.Errorf("a range of ports")
	case n.Timeout != 0 && n.Timeout != natlab.DefaultTimeout:
		return client, fmt.Errorf("a timeout: conntrack's are refreshed from outside, too")
	case n.Mapping == natlab.AddressDependent:
		return client, fmt.Errorf("address-dependent mapping")
	case n.Mapping == natlab.AddressAndPortDependent && n.Ports != natlab.RandomPorts:
		return client, fmt.Errorf("address-and-port-dependent mapping with %s ports", n.Ports)
	case n.Mapping == natlab.AddressAndPortDependent && n.Filtering != natlab.AddressAndPortDependent:
		return client, fmt.Errorf("address-and-port-dependent mapping with %s filtering", n.Filtering)
	case n.Mapping == natlab.EndpointIndependent && n.Ports != natlab.PreservePorts:
		return client, fmt.Errorf("endpoint-independent mapping with %s ports", n.Ports)
	case n.Filtering == natlab.AddressAndPortDependent:
		return client, nil
	case len(clients) > 1:
		return client, fmt.Errorf("%s filtering for %d hosts: what comes in without a connection goes to one", n.Filtering, len(clients))
	case len(clients) == 0:
		return p.outside[router][0], nil // nobody sends; the rule leads to the router itself
	}
	return clients[0], nil
}
