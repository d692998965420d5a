package natlab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/transport/v5"
)

// Net returns the host as what pion/webrtc's, pion/ice's and pion/turn's settings take. Its
// sockets are the host's.
func (h *Host) Net() transport.Net { return hostNet{h} }

type hostNet struct{ h *Host }

func (n hostNet) ListenPacket(network, address string) (net.PacketConn, error) {
	return n.h.ListenPacket(network, address)
}

func (n hostNet) ListenUDP(network string, laddr *net.UDPAddr) (transport.UDPConn, error) {
	f, err := familiesOf("udp", network)
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	c, err := n.h.listenPacketOn("listen", network, f, udpEndpoint(laddr), netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (n hostNet) ListenTCP(network string, laddr *net.TCPAddr) (transport.TCPListener, error) {
	f, err := familiesOf("tcp", network)
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	local := tcpEndpoint(laddr)
	b, err := bindTo(f, local.Addr())
	if err != nil {
		return nil, opError("listen", network, nil, tcpAddr(local), err)
	}
	n.h.w.lock()
	defer n.h.w.unlock()
	l, err := n.h.listenTCP(network, b, local.Port())
	if err != nil {
		return nil, opError("listen", network, nil, tcpAddr(b.local()), err)
	}
	return l, nil
}

func (n hostNet) Dial(network, address string) (net.Conn, error) {
	return n.h.DialContext(context.Background(), network, address)
}

func (n hostNet) DialUDP(network string, laddr, raddr *net.UDPAddr) (transport.UDPConn, error) {
	f, err := familiesOf("udp", network)
	if err == nil && raddr == nil {
		err = &net.AddrError{Err: "missing address"}
	}
	if err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	remote := udpEndpoint(raddr)
	if !remote.Addr().IsValid() {
		remote = netip.AddrPortFrom(loopback[0], remote.Port())
	}
	c, err := n.h.dialUDP(network, f, udpEndpoint(laddr), remote)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (n hostNet) DialTCP(network string, laddr, raddr *net.TCPAddr) (transport.TCPConn, error) {
	_, err := familiesOf("tcp", network)
	if err == nil && raddr == nil {
		err = &net.AddrError{Err: "missing address"}
	}
	if err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	remote := tcpEndpoint(raddr)
	if !remote.Addr().IsValid() {
		remote = netip.AddrPortFrom(loopback[0], remote.Port())
	}
	c, err := n.h.dialTCP(context.Background(), network, tcpEndpoint(laddr), remote)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func familiesOf(proto, network string) (families, error) {
	p, f, err := parseNetwork(network)
	if err == nil && p != proto {
		err = net.UnknownNetworkError(network)
	}
	return f, err
}

func udpEndpoint(a *net.UDPAddr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	return unmapped(a.AddrPort())
}

func tcpEndpoint(a *net.TCPAddr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	return unmapped(a.AddrPort())
}

func (n hostNet) ResolveIPAddr(network, address string) (*net.IPAddr, error) {
	f, err := familiesOf("ip", network)
	if err != nil {
		return nil, err
	}
	addrs, err := n.h.lookup(address, f)
	if err != nil {
		return nil, err
	}
	return &net.IPAddr{IP: addrs[0].AsSlice()}, nil
}

func (n hostNet) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	e, err := n.resolve("udp", network, address)
	if err != nil {
		return nil, err
	}
	return net.UDPAddrFromAddrPort(e), nil
}

func (n hostNet) ResolveTCPAddr(network, address string) (*net.TCPAddr, error) {
	e, err := n.resolve("tcp", network, address)
	if err != nil {
		return nil, err
	}
	return net.TCPAddrFromAddrPort(e), nil
}

// resolve is the first address; as in the package net, that is one of IPv4 if there is any.
func (n hostNet) resolve(proto, network, address string) (netip.AddrPort, error) {
	f, err := familiesOf(proto, network)
	if err != nil {
		return netip.AddrPort{}, err
	}
	host, port, err := splitPort(address)
	if err != nil || host == "" {
		return netip.AddrPortFrom(netip.Addr{}, port), err
	}
	addrs, err := n.h.lookup(host, f)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, a := range addrs {
		if a.Is4() {
			return netip.AddrPortFrom(a, port), nil
		}
	}
	return netip.AddrPortFrom(addrs[0], port), nil
}

func (n hostNet) Interfaces() ([]*transport.Interface, error) {
	h := n.h
	h.w.lock()
	defer h.w.unlock()
	lo := transport.NewInterface(net.Interface{Index: 1, MTU: 65536, Name: "lo", Flags: net.FlagUp | net.FlagLoopback | net.FlagRunning})
	lo.AddAddress(&net.IPNet{IP: net.IP{127, 0, 0, 1}, Mask: net.CIDRMask(8, 32)})
	lo.AddAddress(&net.IPNet{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)})
	all := []*transport.Interface{lo}
	for _, i := range h.ifaces {
		all = append(all, i.describe())
	}
	return all, nil
}

// describe is the interface as the package net has it. It is broadcast and multicast, as
// most are, though nobody hears that.
func (i *iface) describe() *transport.Interface {
	x := transport.NewInterface(net.Interface{
		Index: i.index, MTU: 1500, Name: fmt.Sprintf("eth%d", i.index-2),
		Flags: net.FlagUp | net.FlagBroadcast | net.FlagMulticast | net.FlagRunning,
	})
	for _, a := range append(valid(i.addrs), i.more...) {
		p := i.port.network.prefixes[family(a)]
		x.AddAddress(&net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(p.Bits(), a.BitLen())})
	}
	return x
}

func (n hostNet) InterfaceByIndex(index int) (*transport.Interface, error) {
	return n.find(func(i *transport.Interface) bool { return i.Index == index })
}

func (n hostNet) InterfaceByName(name string) (*transport.Interface, error) {
	return n.find(func(i *transport.Interface) bool { return i.Name == name })
}

func (n hostNet) find(is func(*transport.Interface) bool) (*transport.Interface, error) {
	all, err := n.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if is(i) {
			return i, nil
		}
	}
	return nil, transport.ErrInterfaceNotFound
}

// CreateDialer heeds the dialer's LocalAddr, Timeout and Deadline.
func (n hostNet) CreateDialer(d *net.Dialer) transport.Dialer { return dialer{n.h, d} }

type dialer struct {
	h *Host
	d *net.Dialer
}

func (d dialer) Dial(network, address string) (net.Conn, error) {
	ctx := context.Background()
	if d.d.Timeout > 0 {
		timed, cancel := context.WithTimeout(ctx, d.d.Timeout)
		defer cancel()
		ctx = timed
	}
	if !d.d.Deadline.Equal(time.Time{}) {
		timed, cancel := context.WithDeadline(ctx, d.d.Deadline)
		defer cancel()
		ctx = timed
	}
	var local netip.AddrPort
	if d.d.LocalAddr != nil {
		e, ok := endpointOf(d.d.LocalAddr)
		if !ok {
			return nil, opError("dial", network, d.d.LocalAddr, nil, net.UnknownNetworkError(d.d.LocalAddr.Network()))
		}
		local = e
	}
	return d.h.dial(ctx, network, local, address)
}

// CreateListenConfig heeds nothing of the configuration: there is no system whose
// options could be set.
func (n hostNet) CreateListenConfig(*net.ListenConfig) transport.ListenConfig { return listenConfig(n) }

type listenConfig struct{ h *Host }

func (l listenConfig) Listen(_ context.Context, network, address string) (net.Listener, error) {
	return l.h.Listen(network, address)
}

func (l listenConfig) ListenPacket(_ context.Context, network, address string) (net.PacketConn, error) {
	return l.h.ListenPacket(network, address)
}
