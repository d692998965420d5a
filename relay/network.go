package relay

import (
	"fmt"
	"net"
	"net/netip"

	pion "github.com/pion/transport/v5"
)

// Network is where a relay opens its sockets: a part of what every [pion.Net] has,
// so that networks in memory can be given as they are. Addresses are *net.UDPAddr and
// *net.TCPAddr, and what has a deadline fails with [os.ErrDeadlineExceeded].
type Network interface {
	// ListenPacket opens a socket for "udp", "udp4" or "udp6". Its packets go one by one;
	// they take no memory where it has the methods ReadFromUDPAddrPort and
	// WriteToUDPAddrPort of [net.UDPConn]. Who writes to it must not be made to wait.
	ListenPacket(network, address string) (net.PacketConn, error)
	// ListenTCP listens for connections over "tcp".
	ListenTCP(network string, at *net.TCPAddr) (pion.TCPListener, error)
	// Dial is asked for "udp" alone, to see in the local address from where packets would
	// be sent. Nothing is.
	Dial(network, address string) (net.Conn, error)
	// Interfaces have the addresses of the relay's host. They may change.
	Interfaces() ([]*pion.Interface, error)
}

// network opens sockets, on this machine or elsewhere.
type network interface {
	listen(address string) (net.Listener, error)
	// listenUDP opens so many sockets on one port, which nobody else has.
	listenUDP(address string, sockets int) ([]net.PacketConn, error)
	// open opens the socket of an allocation.
	open(family, address string) (net.PacketConn, error)
	// addresses are those of the interfaces.
	addresses() ([]netip.Addr, error)
	// from is the address from which packets to another are sent.
	from(to netip.AddrPort) (netip.Addr, bool)
}

// networkOf returns the network that a relay was given, or that of this machine.
func networkOf(n Network) network {
	if n == nil {
		return machine{}
	}
	return elsewhere{n}
}

// elsewhere is a network that is not this machine's.
type elsewhere struct{ of Network }

func (e elsewhere) listen(address string) (net.Listener, error) {
	at, err := parseListen(address)
	if err != nil {
		return nil, err
	}
	return e.of.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
}

// listenUDP opens one socket, whatever is asked for: no kernel spreads clients over more.
func (e elsewhere) listenUDP(address string, _ int) ([]net.PacketConn, error) {
	conn, err := e.of.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	return []net.PacketConn{conn}, nil
}

func (e elsewhere) open(family, address string) (net.PacketConn, error) {
	return e.of.ListenPacket(family, address)
}

func (e elsewhere) addresses() (own []netip.Addr, err error) {
	interfaces, err := e.of.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("own addresses: %w", err)
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has none
		}
		own = append(own, ownAddresses(addrs)...)
	}
	return own, nil
}

func (e elsewhere) from(to netip.AddrPort) (netip.Addr, bool) {
	conn, err := e.of.Dial("udp", to.String())
	if err != nil {
		return netip.Addr{}, false
	}
	defer conn.Close()
	return localAddress(conn)
}
