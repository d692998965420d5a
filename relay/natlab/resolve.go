package natlab

import (
	"context"
	"net"
	"net/netip"

	"switchboard/relay/natlab/nat"
)

// LookupHost returns the addresses of a host of the world by its name, the ones to be tried
// first at the front. A host behind a NAT64 that has no IPv4 address gets IPv6 addresses for
// the IPv4 ones (RFC 6147). Addresses are returned as they are. The error is a
// [net.DNSError].
func (h *Host) LookupHost(ctx context.Context, name string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, &net.DNSError{UnwrapErr: err, Err: err.Error(), Name: name, IsTimeout: err == context.DeadlineExceeded}
	}
	addrs, err := h.lookup(name, families{true, true})
	if err != nil {
		return nil, err
	}
	all := make([]string, len(addrs))
	for i, a := range addrs {
		all[i] = a.String()
	}
	return all, nil
}

// lookup is LookupHost for the families that are asked for.
func (h *Host) lookup(name string, f families) ([]netip.Addr, error) {
	h.w.lock()
	defer h.w.unlock()
	addrs, err := h.resolve(name)
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, fam := range [2]int{1, 0} { // IPv6 comes first (RFC 6724)
		for _, a := range addrs {
			if family(a) == fam && f[fam] {
				all = append(all, a)
			}
		}
	}
	if len(all) == 0 {
		return nil, &net.AddrError{Err: "no suitable address", Addr: name}
	}
	return all, nil
}

// resolve returns all addresses that the host may be told for a name.
func (h *Host) resolve(name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a.Unmap().WithZone("")}, nil
	}
	if name == "localhost" || name == h.name && len(h.ifaces) == 0 {
		return loopback[:], nil
	}
	other := h.w.hosts[name]
	if other == nil {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return h.tells(other.addrs()), nil
}

// tells is what the resolver of the host's network makes of addresses: behind a NAT64, it
// puts IPv6 ones for IPv4, and leaves out IPv6 that is not routed; the host's own stack
// leaves out what it has no address for.
func (h *Host) tells(addrs []netip.Addr) []netip.Addr {
	dns64 := false
	has := [2]bool{}
	for _, i := range h.ifaces {
		r := i.port.network.router
		dns64 = dns64 || r != nil && r.is64()
		has[0] = has[0] || i.addrs[0].IsValid()
		has[1] = has[1] || i.addrs[1].IsValid()
	}
	var all []netip.Addr
	sixes := false
	for _, a := range addrs {
		if a.Is6() && has[1] && (h.owns(a) || h.route(a) != nil) {
			all = append(all, a)
			sixes = true
		}
	}
	for _, a := range addrs {
		switch {
		case !a.Is4():
		case has[0]:
			all = append(all, a)
		case dns64 && !sixes:
			all = append(all, nat.Embed(a))
		}
	}
	return all
}
