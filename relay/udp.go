package relay

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// receiveBuffer is what the kernel is asked to keep for the UDP listener, in
// bytes: all clients share it. Without rights, it gives net.core.rmem_max.
const receiveBuffer = 4 << 20

// packetGuard is the UDP listener as the TURN library sees it. The library reads
// it in one goroutine, and writes from many.
type packetGuard struct {
	*net.UDPConn
	guard  *guard
	local  net.Addr
	closed chan struct{}
	once   sync.Once
}

func newPacketGuard(c *net.UDPConn, g *guard) *packetGuard {
	c.SetReadBuffer(receiveBuffer)
	c.SetWriteBuffer(receiveBuffer)
	return &packetGuard{UDPConn: c, guard: g, local: c.LocalAddr(), closed: make(chan struct{})}
}

// ReadFrom returns the next message for the library. It fails when the
// listener is closed, and then only: the library would serve nobody any more.
func (p *packetGuard) ReadFrom(b []byte) (int, net.Addr, error) {
	var pause backoff
	for {
		n, from, err := p.ReadFromUDPAddrPort(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return 0, nil, err
		case err != nil:
			p.guard.drop(dropReceive)
			pause.wait(p.closed)
			continue
		}
		pause.reset()
		c := client{addr: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), over: overUDP}
		if p.pass(b[:n], c) {
			return n, net.UDPAddrFromAddrPort(c.addr), nil
		}
	}
}

func (p *packetGuard) pass(b []byte, c client) bool {
	if len(b) > maxMessage {
		return p.guard.drop(dropTooLarge)
	}
	if !datagram(b) {
		return p.guard.drop(dropShape)
	}
	pass, answer := p.guard.incoming(b, c)
	if answer != nil {
		p.send(answer, c)
	}
	return pass
}

// WriteTo sends what the library has for a client. What the kernel does not
// take is lost, as UDP's packets are.
func (p *packetGuard) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not a UDP address")
	}
	a := udp.AddrPort()
	c := client{addr: netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), over: overUDP}
	if p.guard.outgoing(b, c) {
		p.send(b, c)
	}
	return len(b), nil
}

func (p *packetGuard) send(b []byte, c client) {
	if _, err := p.WriteToUDPAddrPort(b, c.addr); err != nil && !errors.Is(err, net.ErrClosed) {
		p.guard.drop(dropSend)
	}
}

// LocalAddr implements [net.PacketConn] without an allocation for each message.
func (p *packetGuard) LocalAddr() net.Addr { return p.local }

// Close closes the listener. Further calls do nothing.
func (p *packetGuard) Close() (err error) {
	p.once.Do(func() {
		close(p.closed)
		err = p.UDPConn.Close()
	})
	return err
}
