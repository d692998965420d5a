package relay

import "net"

// The TURN library chooses the family of an allocation for a client that asks for
// none by the address that its listener is bound to, or by the client's where that
// is all addresses. On a relay that has IPv6 alone it would look in vain for IPv4.
// So its listeners there say that they are bound to an IPv6 address.

// facing returns the UDP listener as the library is to see it.
func (s *Server) facing(c net.PacketConn) net.PacketConn {
	if len(s.guard.addresses.four) > 0 {
		return c
	}
	return facingSix{c}
}

type facingSix struct{ net.PacketConn }

func (facingSix) LocalAddr() net.Addr { return localSixUDP }

var (
	localSixUDP = &net.UDPAddr{IP: net.IPv6loopback}
	localSixTCP = &net.TCPAddr{IP: net.IPv6loopback}
)

// LocalAddr returns what the connection is bound to, as the library is to see it.
func (c *streamConn) LocalAddr() net.Addr {
	if len(c.listener.guard.addresses.four) > 0 {
		return c.Conn.LocalAddr()
	}
	return localSixTCP
}
