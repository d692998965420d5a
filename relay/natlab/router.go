package natlab

import (
	"net/netip"
	"slices"

	"switchboard/relay/natlab/nat"
)

// Router leads from one network towards the internet.
type Router struct {
	// Static after addRouter.
	w        *World
	name     string
	spec     RouterSpec
	inside   *Network
	port     *port // outside
	external [2]netip.Addr

	// Guarded by the world's mu.
	table    *nat.Table    // nil without a NAT
	firewall *nat.Firewall // of routed IPv6
}

func (w *World) addRouter(name string, spec RouterSpec, inside, outside *Network) *Router {
	spec.Inside, spec.Outside = inside.name, outside.name
	r := &Router{w: w, name: name, spec: spec, inside: inside, firewall: nat.NewFirewall(0)}
	r.external = outside.addresses()
	r.port = outside.attach(r, name, r.external)
	if spec.NAT != nil {
		r.table = nat.New(*spec.NAT, r.external[0], w.rand("ports of "+name))
	}
	inside.router = r
	w.routers[name] = r
	r.announce()
	return r
}

// announce tells the networks outside the way to prefixes that nothing translates.
func (r *Router) announce() {
	for fam, p := range r.inside.prefixes {
		if !p.IsValid() {
			continue
		}
		for up := r; up != nil && up.spec.routes(fam); up = up.port.network.router {
			out := up.port.network
			out.routes = append(out.routes, route{p, up})
		}
	}
}

// Name is the router's name.
func (r *Router) Name() string { return r.name }

// External are its addresses outside, of each family at most one.
func (r *Router) External() []netip.Addr { return valid(r.external) }

// Mappings is how many external ports its NAT has given out, of UDP and TCP. Those that have
// run out may be counted until the next packet.
func (r *Router) Mappings() int {
	r.w.lock()
	defer r.w.unlock()
	if r.table == nil {
		return 0
	}
	return r.table.Mappings()
}

// Reboot has the router forget its mappings and what it has let in. It takes no time.
func (r *Router) Reboot() {
	r.w.lock()
	defer r.w.unlock()
	if r.table != nil {
		r.table.Reset()
	}
	r.firewall.Reset()
}

func (r *Router) is64() bool { return r.spec.NAT != nil && r.spec.NAT.NAT64 }

// outbound has a packet from inside.
func (r *Router) outbound(p *packet) {
	if why := r.refuses(p); why != NotDropped {
		r.w.drop(r.name, p, why)
		return
	}
	why := NotDropped
	switch dst := p.dst.Addr(); {
	case dst.Is4() && r.table == nil:
	case dst.Is4(), r.is64() && NAT64.Contains(dst):
		r.translate(p)
		return
	case r.spec.IPv6 == IPv6Routed:
		why = filtered(r.firewall.Outbound(r.w.now, header(p)))
	case r.spec.IPv6 == IPv6Blackhole:
		why = BlackholedIPv6
	default:
		why = NoRoute
	}
	r.forward(p, why)
}

// refuses is why a packet may not go out, whatever it would become.
func (r *Router) refuses(p *packet) Drop {
	switch {
	case !r.inside.knows(p.src.Addr()):
		return WrongSource
	case p.proto == nat.UDP && r.spec.Firewall.BlockUDP:
		return BlockedUDP
	case p.proto == nat.TCP && len(r.spec.Firewall.TCPPorts) > 0 && !slices.Contains(r.spec.Firewall.TCPPorts, p.dst.Port()):
		return BlockedPort
	}
	return NotDropped
}

func (r *Router) translate(p *packet) {
	got, v := r.table.Outbound(r.w.now, header(p))
	if v.Dropped() {
		r.w.drop(r.name, p, dropOf(v))
		return
	}
	p.src, p.dst = got.Src, got.Dst
	if v == nat.Hairpin {
		r.deliver(p, NotDropped)
		return
	}
	r.forward(p, NotDropped)
}

// forward sends to the outside what nothing speaks against.
func (r *Router) forward(p *packet, why Drop) {
	if why != NotDropped {
		r.w.drop(r.name, p, why)
		return
	}
	r.w.forwarded(r.name, p)
	r.port.send(p)
}

// deliver sends inside what nothing speaks against.
func (r *Router) deliver(p *packet, why Drop) {
	if why != NotDropped {
		r.w.drop(r.name, p, why)
		return
	}
	r.w.forwarded(r.name, p)
	r.w.ready.push(hop{p: p, net: r.inside, down: true})
}

// receive has a packet from outside.
func (r *Router) receive(p *packet, _ *port) {
	dst := p.dst.Addr()
	switch {
	case p.proto == nat.UDP && r.spec.Firewall.BlockUDP:
		r.deliver(p, BlockedUDP)
	case dst.Is4() && r.table != nil:
		got, v := r.table.Inbound(r.w.now, header(p))
		if v.Dropped() {
			r.deliver(p, dropOf(v))
			return
		}
		p.src, p.dst = got.Src, got.Dst
		r.deliver(p, NotDropped)
	case slices.Contains(r.external[:], dst):
		r.deliver(p, NoSocket)
	case dst.Is4():
		r.deliver(p, NotDropped)
	default:
		r.deliver(p, filtered(r.firewall.Inbound(r.w.now, header(p))))
	}
}

func header(p *packet) nat.Packet {
	return nat.Packet{Proto: p.proto, Flags: p.flags, Src: p.src, Dst: p.dst}
}

func filtered(v nat.Verdict) Drop {
	if v.Dropped() {
		return FilteredIPv6
	}
	return NotDropped
}

func valid(addrs [2]netip.Addr) []netip.Addr {
	var all []netip.Addr
	for _, a := range addrs {
		if a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}
