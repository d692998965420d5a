package datagram

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// single is a connection through which datagrams go one by one, such as a [net.UDPConn].
type single interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	Close() error
}

// singleOf returns what has a connection's datagrams go one by one: the connection itself
// where it can.
func singleOf(c net.PacketConn) single {
	if s, ok := c.(single); ok {
		return s
	}
	return converter{c}
}

// isSystems reports whether the system knows the socket.
func isSystems(c single) bool {
	_, ok := c.(syscall.Conn)
	return ok
}

// converter gives addresses the form that a connection wants, which takes memory.
type converter struct{ net.PacketConn }

func (c converter) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.ReadFrom(b)
	if err != nil {
		return n, netip.AddrPort{}, err
	}
	udp, ok := from.(*net.UDPAddr)
	if !ok {
		return n, netip.AddrPort{}, fmt.Errorf("a datagram from %T, which is no address of UDP", from)
	}
	return n, udp.AddrPort(), nil
}

func (c converter) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return c.WriteTo(b, net.UDPAddrFromAddrPort(to))
}
