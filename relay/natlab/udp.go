package natlab

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pion/transport/v5"

	"switchboard/relay/natlab/nat"
)

const (
	// socketQueue is how many datagrams wait for a socket's reader: about what Linux holds
	// by default.
	socketQueue = 256
	// maxDatagram is the longest payload over IPv4. Whatever the size, datagrams go in one
	// packet: there are no fragments.
	maxDatagram = 65507
)

// udpConn is a UDP socket. All is guarded by the world's mu.
type udpConn struct {
	h       *Host
	network string
	b       *binding
	remote  netip.AddrPort // invalid if it is not connected

	queue     []*packet
	arrived   *sync.Cond
	closed    bool
	readBy    *deadline
	writtenBy *deadline
}

var _ transport.UDPConn = (*udpConn)(nil)

// listenUDP makes a socket that is bound, and connected if remote is valid.
func (h *Host) listenUDP(network string, b *binding, port uint16, remote netip.AddrPort) (*udpConn, error) {
	if err := h.bind(b, nat.UDP, port); err != nil {
		return nil, err
	}
	c := &udpConn{h: h, network: network, b: b, remote: remote, arrived: sync.NewCond(&h.w.mu)}
	c.readBy = newDeadline(h.w, c.arrived.Broadcast)
	c.writtenBy = newDeadline(h.w, func() {})
	b.udp = c
	return c, nil
}

// hears is whether packets from src are for the socket.
func (c *udpConn) hears(src netip.AddrPort) bool { return !c.remote.IsValid() || c.remote == src }

func (c *udpConn) receive(p *packet) {
	if len(c.queue) >= socketQueue {
		c.h.w.drop(c.h.name, p, SocketFull)
		return
	}
	c.h.w.received(c.h.name, p)
	c.queue = append(c.queue, p)
	c.arrived.Signal()
}

// read waits for a packet.
func (c *udpConn) read() (*packet, error) {
	c.h.w.lock()
	defer c.h.w.unlock()
	for {
		switch {
		case c.closed:
			return nil, net.ErrClosed
		case c.readBy.passed:
			return nil, os.ErrDeadlineExceeded
		case len(c.queue) > 0:
			p := c.queue[0]
			c.queue[0] = nil
			if c.queue = c.queue[1:]; len(c.queue) == 0 {
				c.queue = nil
			}
			return p, nil
		}
		c.h.w.wait(c.arrived)
	}
}

// ReadFromUDPAddrPort is as in net.UDPConn.
func (c *udpConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	p, err := c.read()
	if err != nil {
		return 0, netip.AddrPort{}, c.error("read", netip.AddrPort{}, err)
	}
	return copy(b, p.payload), p.src, nil
}

func (c *udpConn) ReadFromUDP(b []byte) (int, *net.UDPAddr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (c *udpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDP(b)
	if err != nil {
		return n, nil, err
	}
	return n, from, nil
}

func (c *udpConn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFromUDPAddrPort(b)
	return n, err
}

func (c *udpConn) ReadMsgUDP(b, _ []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	n, addr, err = c.ReadFromUDP(b)
	return n, 0, 0, addr, err
}

// WriteToUDPAddrPort is as in net.UDPConn.
func (c *udpConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if c.remote.IsValid() {
		return 0, c.error("write", to, net.ErrWriteToConnected)
	}
	return c.write(b, unmapped(to))
}

func (c *udpConn) WriteToUDP(b []byte, addr *net.UDPAddr) (int, error) {
	if addr == nil {
		return 0, c.error("write", netip.AddrPort{}, syscall.EDESTADDRREQ)
	}
	return c.WriteToUDPAddrPort(b, addr.AddrPort())
}

func (c *udpConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.error("write", netip.AddrPort{}, syscall.EINVAL)
	}
	return c.WriteToUDP(b, to)
}

func (c *udpConn) Write(b []byte) (int, error) {
	if !c.remote.IsValid() {
		return 0, c.error("write", netip.AddrPort{}, syscall.EDESTADDRREQ)
	}
	return c.write(b, c.remote)
}

func (c *udpConn) WriteMsgUDP(b, _ []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	if addr == nil {
		n, err = c.Write(b)
		return n, 0, err
	}
	n, err = c.WriteToUDP(b, addr)
	return n, 0, err
}

func (c *udpConn) write(b []byte, to netip.AddrPort) (int, error) {
	if len(b) > maxDatagram {
		return 0, c.error("write", to, syscall.EMSGSIZE)
	}
	p := &packet{proto: nat.UDP, dst: to, payload: append([]byte(nil), b...)}
	c.h.w.lock()
	err := c.send(p)
	c.h.w.unlock()
	if err != nil {
		return 0, c.error("write", to, err)
	}
	return len(b), nil
}

func (c *udpConn) send(p *packet) error {
	dst := p.dst.Addr()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.writtenBy.passed:
		return os.ErrDeadlineExceeded
	case !dst.IsValid() || p.dst.Port() == 0:
		return syscall.EINVAL
	case !c.b.families[family(dst)]:
		return syscall.EAFNOSUPPORT
	}
	src := c.b.addr
	if dst.IsUnspecified() { // the system itself
		p.dst = netip.AddrPortFrom(loopback[family(dst)], p.dst.Port())
		dst = p.dst.Addr()
	}
	if src.IsUnspecified() {
		src = c.h.source(dst)
	} else if !c.h.owns(src) {
		return syscall.EADDRNOTAVAIL
	} else if src.IsLoopback() && !c.h.owns(dst) {
		return syscall.EINVAL
	}
	p.src = netip.AddrPortFrom(src, c.b.key.port)
	if !src.IsValid() || !c.h.send(p) {
		return syscall.ENETUNREACH
	}
	return nil
}

func (c *udpConn) Close() error {
	c.h.w.lock()
	defer c.h.w.unlock()
	if c.closed {
		return c.error("close", netip.AddrPort{}, net.ErrClosed)
	}
	c.h.unbind(c.b)
	c.shut()
	return nil
}

// shut ends all that waits.
func (c *udpConn) shut() {
	c.closed, c.queue = true, nil
	c.readBy.set(time.Time{})
	c.writtenBy.set(time.Time{})
	c.arrived.Broadcast()
}

func (c *udpConn) LocalAddr() net.Addr  { return udpAddr(c.b.local()) }
func (c *udpConn) RemoteAddr() net.Addr { return udpAddr(c.remote) }

func (c *udpConn) SetDeadline(t time.Time) error { return c.setDeadlines(t, c.readBy, c.writtenBy) }

func (c *udpConn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, c.readBy) }

func (c *udpConn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, c.writtenBy) }

func (c *udpConn) setDeadlines(t time.Time, of ...*deadline) error {
	c.h.w.lock()
	defer c.h.w.unlock()
	if c.closed {
		return c.error("set", netip.AddrPort{}, net.ErrClosed)
	}
	for _, d := range of {
		d.set(t)
	}
	return nil
}

// SetReadBuffer does nothing: the queue has its bound.
func (c *udpConn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing: writes do not wait.
func (c *udpConn) SetWriteBuffer(int) error { return nil }

func (c *udpConn) error(op string, to netip.AddrPort, err error) error {
	addr := udpAddr(to)
	if addr == nil {
		addr = c.RemoteAddr()
	}
	return opError(op, c.network, c.LocalAddr(), addr, err)
}
