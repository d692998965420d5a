package natlab

import (
	"fmt"
	"net/netip"

	"switchboard/relay/natlab/link"
)

// Network is one hop: whatever is in it reaches whatever else is in it.
type Network struct {
	// Static after addNetwork.
	w        *World
	name     string
	link     Link
	prefixes [2]netip.Prefix // of IPv4 and IPv6; invalid where there is none

	// Guarded by the world's mu.
	router *Router // that leads out
	routes []route // that lead in
	ports  map[netip.Addr]*port
	next   [2]netip.Addr           // to be given
	leases map[*Host][2]netip.Addr // a host that comes back gets the same
	cut    bool
}

// route is a way to a prefix that nothing translates.
type route struct {
	prefix netip.Prefix
	by     *Router
}

// port is where a host or a router's outside is in a network.
type port struct {
	owner    owner
	network  *Network
	up, down *link.Line // nil does nothing
	gone     bool       // the owner has left
}

type owner interface {
	// receive has a packet that arrived at a port.
	receive(p *packet, at *port)
}

func (w *World) addNetwork(name string, spec NetworkSpec) *Network {
	n := &Network{
		w: w, name: name, link: spec.Link,
		ports:  make(map[netip.Addr]*port),
		leases: make(map[*Host][2]netip.Addr),
	}
	for _, p := range spec.Prefixes {
		f := family(p.Addr())
		n.prefixes[f] = p
		n.next[f] = p.Addr().Next().Next() // the first is the network's, the second the router's
	}
	w.networks[name] = n
	return n
}

// Name is the network's name.
func (n *Network) Name() string { return n.name }

// Router is the one that leads out of the network, or nil.
func (n *Network) Router() *Router {
	n.w.lock()
	defer n.w.unlock()
	return n.router
}

// Prefixes are the network's, at most one of each family.
func (n *Network) Prefixes() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range n.prefixes {
		if p.IsValid() {
			all = append(all, p)
		}
	}
	return all
}

// AddHost adds a host to the network. Like the other methods that add, it panics at what
// [Topology.Validate] would name, as it is for tests.
func (n *Network) AddHost(name string) *Host {
	n.w.lock()
	defer n.w.unlock()
	n.w.mustBeFree(name)
	return n.w.addHost(name, n)
}

// AddRouter adds a router whose outside is this network, and returns the one inside, which
// has the router's name. The spec's Inside and Outside are not looked at; inside may be its
// zero value.
func (n *Network) AddRouter(name string, spec RouterSpec, inside NetworkSpec) *Network {
	n.w.lock()
	defer n.w.unlock()
	n.w.mustBeFree(name)
	t := n.w.topology()
	spec.Inside, spec.Outside = "inside", n.name // a name that is not checked
	for t.Networks[spec.Inside].Prefixes != nil {
		spec.Inside += "-"
	}
	t.Networks[spec.Inside], t.Routers[name] = inside, spec
	t = t.Complete()
	c := checker{t: t}
	c.wrap("link", inside.Link.Validate())
	c.families("inside", t.Networks[spec.Inside].Prefixes)
	c.router("router", spec)
	c.overlaps()
	if len(c.errs) > 0 {
		panic(fmt.Sprintf("natlab: router %q: %v", name, c.errs))
	}
	net := n.w.addNetwork(name, t.Networks[spec.Inside])
	n.w.addRouter(name, spec, net, n)
	return net
}

// topology is what there is so far, without hosts.
func (w *World) topology() Topology {
	t := Topology{Networks: make(map[string]NetworkSpec), Routers: make(map[string]RouterSpec)}
	for name, n := range w.networks {
		t.Networks[name] = NetworkSpec{Prefixes: n.Prefixes()}
	}
	for name, r := range w.routers {
		t.Routers[name] = r.spec
	}
	return t
}

func (w *World) mustBeFree(name string) {
	switch {
	case !validName(name):
		panic(fmt.Sprintf("natlab: name %q is not 1 to %d of a-z, 0-9 and hyphens", name, MaxName))
	case w.networks[name] != nil, w.routers[name] != nil, w.hosts[name] != nil:
		panic(fmt.Sprintf("natlab: name %q is used already", name))
	}
}

// Cut takes the network from everybody, until Restore. What is under way is lost.
func (n *Network) Cut() { n.setCut(true) }

// Restore undoes Cut.
func (n *Network) Restore() { n.setCut(false) }

func (n *Network) setCut(cut bool) {
	n.w.lock()
	defer n.w.unlock()
	n.cut = cut
}

// attach gives an owner a place in the network, with the addresses given.
func (n *Network) attach(o owner, name string, addrs [2]netip.Addr) *port {
	p := &port{owner: o, network: n}
	p.up = n.w.line(n.link, name+" to "+n.name)
	p.down = n.w.line(n.link, n.name+" to "+name)
	for _, a := range addrs {
		if a.IsValid() {
			n.ports[a] = p
		}
	}
	return p
}

func (n *Network) detach(p *port, addrs []netip.Addr) {
	p.gone = true
	for _, a := range addrs {
		delete(n.ports, a)
	}
}

// lease returns the addresses that a host has in the network.
func (n *Network) lease(h *Host) [2]netip.Addr {
	addrs, ok := n.leases[h]
	if !ok {
		addrs = n.addresses()
		n.leases[h] = addrs
	}
	return addrs
}

// addresses are new ones of each family that the network has.
func (n *Network) addresses() [2]netip.Addr {
	var addrs [2]netip.Addr
	for f, p := range n.prefixes {
		if !p.IsValid() {
			continue
		}
		addrs[f] = n.next[f]
		n.next[f] = n.next[f].Next()
		if last := !p.Contains(n.next[f]); !p.Contains(addrs[f]) || f == 0 && last && p.Bits() < 31 {
			panic(fmt.Sprintf("natlab: network %q has no free address in %v", n.name, p))
		}
	}
	return addrs
}

// step takes a packet one hop on.
func (w *World) step(h hop) {
	switch {
	case h.port == nil:
		h.net.enter(h.p, h.down)
	case h.port.gone:
		w.drop(h.port.network.name, h.p, NoHost)
	case h.port.network.cut:
		w.drop(h.port.network.name, h.p, NetworkCut)
	default:
		h.port.owner.receive(h.p, h.port)
	}
}

// enter finds a packet's way from the network on. down is whether it came from its router.
func (n *Network) enter(p *packet, down bool) {
	dst := p.dst.Addr()
	if n.cut {
		n.w.drop(n.name, p, NetworkCut)
		return
	}
	if at := n.ports[dst]; at != nil {
		n.w.carry(at.down, p, hop{p: p, port: at})
		return
	}
	for _, r := range n.routes {
		if r.prefix.Contains(dst) {
			n.w.carry(r.by.port.down, p, hop{p: p, port: r.by.port})
			return
		}
	}
	switch {
	case n.knows(dst):
		n.w.drop(n.name, p, NoHost)
	case down || n.router == nil:
		n.w.drop(n.name, p, NoRoute)
	default:
		n.router.outbound(p)
	}
}

// send puts a packet from a port's owner onto its network.
func (p *port) send(x *packet) {
	p.network.w.carry(p.up, x, hop{p: x, net: p.network})
}

// carry takes a packet over a line to its next hop.
func (w *World) carry(l *link.Line, p *packet, next hop) {
	if l == nil {
		w.ready.push(next)
		return
	}
	at, v := l.Pass(w.now, p.size())
	switch {
	case v == link.Lost:
		w.drop(next.network().name, p, LinkLoss)
	case v == link.QueueFull:
		w.drop(next.network().name, p, LinkQueueFull)
	case at.After(w.now):
		w.later.push(event{at: at, hop: next})
	default:
		w.ready.push(next)
	}
}

func (h hop) network() *Network {
	if h.port != nil {
		return h.port.network
	}
	return h.net
}

// knows is whether an address is of the network, or of one below that is routed.
func (n *Network) knows(a netip.Addr) bool {
	if p := n.prefixes[family(a)]; p.IsValid() && p.Contains(a) {
		return true
	}
	for _, r := range n.routes {
		if r.prefix.Contains(a) {
			return true
		}
	}
	return false
}

// leads is whether hosts of the network believe that there is a way out to an address. The
// internet's do; their packets to private addresses get lost in it.
func (n *Network) leads(a netip.Addr) bool {
	switch {
	case n.name == Internet:
		return true
	case n.router == nil:
		return false
	case a.Is4():
		return true
	}
	return n.router.spec.IPv6 != IPv6None || n.router.is64() && NAT64.Contains(a)
}
