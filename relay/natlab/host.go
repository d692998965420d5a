package natlab

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"switchboard/relay/natlab/nat"
)

// Host is a machine with an IP stack. Its sockets are made by [Host.Listen],
// [Host.ListenPacket] and [Host.DialContext], or through [Host.Net].
//
// Sockets outlive the addresses that they are bound to: nothing reaches them any more, and
// what they send fails. Packets take the way that their destination is on, whatever their
// source; a router drops those whose source is not of its inside.
type Host struct {
	// Static after addHost.
	w    *World
	name string
	rnd  *rand.Rand
	lo   *port

	// Guarded by the world's mu.
	ifaces []*iface // the first that leads to a destination is taken
	index  int      // of the last interface
	down   bool
	bound  map[bindKey][]*binding
	conns  map[connKey]*tcpConn
}

// iface is a network interface.
type iface struct {
	index int
	port  *port
	addrs [2]netip.Addr
	more  []netip.Addr // that sockets can be bound to, beside addrs
}

var loopback = [2]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

func (w *World) addHost(name string, n *Network) *Host {
	h := &Host{w: w, name: name, rnd: w.rand("host " + name), index: 1, bound: make(map[bindKey][]*binding), conns: make(map[connKey]*tcpConn)}
	h.lo = &port{owner: h, network: &Network{w: w, name: name}}
	w.hosts[name] = h
	h.join(n)
	return h
}

// Name is the host's name, which leads to its addresses on every host.
func (h *Host) Name() string { return h.name }

// Addrs are its addresses, those of the default route first, without loopback.
func (h *Host) Addrs() []netip.Addr {
	h.w.lock()
	defer h.w.unlock()
	return h.addrs()
}

func (h *Host) addrs() []netip.Addr {
	var all []netip.Addr
	for _, i := range h.ifaces {
		all = append(all, valid(i.addrs)...)
		all = append(all, i.more...)
	}
	return all
}

// AddAddrs gives the host another address of each family, in the network of its default
// route, and returns them. Sockets that are bound to all addresses send from the first ones.
// The host loses them for good when it leaves the network.
func (h *Host) AddAddrs() []netip.Addr {
	h.w.lock()
	defer h.w.unlock()
	if len(h.ifaces) == 0 {
		return nil
	}
	i := h.ifaces[0]
	more := valid(i.port.network.addresses())
	for _, a := range more {
		i.port.network.ports[a] = i.port
	}
	i.more = append(i.more, more...)
	return more
}

// Networks are those it is in, that of the default route first.
func (h *Host) Networks() []*Network {
	h.w.lock()
	defer h.w.unlock()
	var all []*Network
	for _, i := range h.ifaces {
		all = append(all, i.port.network)
	}
	return all
}

// Move has the host leave all its networks for another, as from Wi-Fi to mobile.
func (h *Host) Move(n *Network) {
	h.w.lock()
	defer h.w.unlock()
	for len(h.ifaces) > 0 {
		h.leave(h.ifaces[0])
	}
	h.join(n)
}

// Join has the host enter another network, and send that way all that is not for a network
// that it is in, as with a VPN. If it is in the network already, this only changes the
// default route.
func (h *Host) Join(n *Network) {
	h.w.lock()
	defer h.w.unlock()
	h.join(n)
}

// Leave undoes Join. If the host is not in the network, nothing happens.
func (h *Host) Leave(n *Network) {
	h.w.lock()
	defer h.w.unlock()
	for _, i := range h.ifaces {
		if i.port.network == n {
			h.leave(i)
			return
		}
	}
}

func (h *Host) join(n *Network) {
	if n.w != h.w {
		panic(fmt.Sprintf("natlab: network %q is of another world than host %q", n.name, h.name))
	}
	for at, i := range h.ifaces {
		if i.port.network == n {
			h.ifaces = slices.Insert(slices.Delete(h.ifaces, at, at+1), 0, i)
			return
		}
	}
	addrs := n.lease(h)
	h.index++
	i := &iface{index: h.index, port: n.attach(h, h.name, addrs), addrs: addrs}
	h.ifaces = slices.Insert(h.ifaces, 0, i)
}

func (h *Host) leave(i *iface) {
	i.port.network.detach(i.port, append(i.more, i.addrs[:]...))
	h.ifaces = slices.DeleteFunc(h.ifaces, func(x *iface) bool { return x == i })
}

// Crash is a power cut: all sockets are closed, nobody is told, and nothing is answered
// until Start.
func (h *Host) Crash() {
	h.w.lock()
	defer h.w.unlock()
	h.crash()
}

// Start has the host run again after Crash, with the same addresses and no sockets.
func (h *Host) Start() {
	h.w.lock()
	defer h.w.unlock()
	h.down = false
}

func (h *Host) crash() {
	h.down = true
	for _, at := range h.bound {
		for _, b := range at {
			b.crash()
		}
	}
	for _, c := range h.conns {
		c.crash()
	}
	clear(h.bound)
	clear(h.conns)
}

// route is the interface towards a destination, nil if there is none.
func (h *Host) route(dst netip.Addr) *iface {
	f := family(dst)
	for _, i := range h.ifaces {
		if i.addrs[f].IsValid() && i.port.network.prefixes[f].Contains(dst) {
			return i
		}
	}
	for _, i := range h.ifaces {
		if i.addrs[f].IsValid() && i.port.network.leads(dst) {
			return i
		}
	}
	return nil
}

// source is the address that packets to a destination come from, if nothing says otherwise.
// It is invalid if there is no route.
func (h *Host) source(dst netip.Addr) netip.Addr {
	if h.owns(dst) {
		return dst
	}
	if i := h.route(dst); i != nil {
		return i.addrs[family(dst)]
	}
	return netip.Addr{}
}

// owns is whether an address is the host's, or loopback.
func (h *Host) owns(a netip.Addr) bool {
	for _, i := range h.ifaces {
		if a == i.addrs[0] || a == i.addrs[1] || slices.Contains(i.more, a) {
			return true
		}
	}
	return a.IsLoopback()
}

// send puts a packet on its way. It is false if there is none.
func (h *Host) send(p *packet) bool {
	dst := p.dst.Addr()
	if h.owns(dst) {
		h.w.sent(h.name, p)
		h.w.ready.push(hop{p: p, port: h.lo})
		return true
	}
	i := h.route(dst)
	if i == nil {
		return false
	}
	h.w.sent(h.name, p)
	if dst.IsMulticast() {
		h.w.drop(h.name, p, NoRoute) // there is nobody to hear it
		return true
	}
	i.port.send(p)
	return true
}

// receive has a packet that arrived at one of the host's interfaces.
func (h *Host) receive(p *packet, _ *port) {
	if h.down {
		h.w.drop(h.name, p, HostDown)
		return
	}
	if p.proto == nat.TCP {
		h.receiveTCP(p)
		return
	}
	b := h.boundTo(nat.UDP, p.dst)
	if b == nil || !b.udp.hears(p.src) {
		h.w.drop(h.name, p, NoSocket)
		return
	}
	b.udp.receive(p)
}
