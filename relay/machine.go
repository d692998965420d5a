package relay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// machine is the network of this machine.
type machine struct{}

func (machine) listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

func (machine) listenUDP(address string, sockets int) (all []net.PacketConn, err error) {
	alone, err := net.ListenPacket("udp", address)
	if err != nil || sockets == 1 {
		if err == nil {
			all = append(all, alone)
		}
		return all, err
	}
	if err := alone.Close(); err != nil { // sockets share a port only if the first one does
		return nil, err
	}
	for range sockets {
		conn, err := (&net.ListenConfig{Control: share}).ListenPacket(context.Background(), "udp", address)
		if err != nil {
			for _, c := range all {
				c.Close()
			}
			return nil, err
		}
		all = append(all, conn)
	}
	return all, nil
}

func (machine) open(family, address string) (net.PacketConn, error) {
	return net.ListenPacket(family, address)
}

func (machine) addresses() ([]netip.Addr, error) {
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("own addresses: %w", err)
	}
	return ownAddresses(nets), nil
}

// from asks the kernel. Nothing is sent.
func (machine) from(to netip.AddrPort) (netip.Addr, bool) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}, false
	}
	defer conn.Close()
	return localAddress(conn)
}

// ownAddresses are those of interfaces.
func ownAddresses(nets []net.Addr) (own []netip.Addr) {
	for _, n := range nets {
		if prefix, err := netip.ParsePrefix(n.String()); err == nil {
			own = append(own, prefix.Addr().WithZone("").Unmap())
		}
	}
	return own
}

// localAddress is where a connection over UDP is, unless that means something on one link
// alone.
func localAddress(conn net.Conn) (netip.Addr, bool) {
	at, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	from := at.AddrPort().Addr().Unmap()
	return from, from.IsValid() && from.Zone() == ""
}
