package natlab

import (
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/transport/v5"

	"switchboard/relay/natlab/nat"
)

// tcpListener waits for connections. All is guarded by the world's mu.
type tcpListener struct {
	h        *Host
	network  string
	b        *binding
	queue    []*tcpConn // established
	halfOpen int
	arrived  *sync.Cond
	closed   bool
	acceptBy *deadline
}

var _ transport.TCPListener = (*tcpListener)(nil)

func (h *Host) listenTCP(network string, b *binding, port uint16) (*tcpListener, error) {
	if err := h.bind(b, nat.TCP, port); err != nil {
		return nil, err
	}
	l := &tcpListener{h: h, network: network, b: b, arrived: sync.NewCond(&h.w.mu)}
	l.acceptBy = newDeadline(h.w, l.arrived.Broadcast)
	b.listener = l
	return l, nil
}

// receive has a SYN. With too many waiting it is dropped, and comes again.
func (l *tcpListener) receive(p *packet) {
	h := l.h
	if l.halfOpen >= listenBacklog || len(l.queue) >= listenBacklog {
		h.w.drop(h.name, p, SocketFull)
		return
	}
	h.w.received(h.name, p)
	c := h.newConn(l.network, connKey{p.dst, p.src}, synReceived)
	c.listener = l
	l.halfOpen++
	c.in.next = p.seq + 1
	c.out.window = int(p.window)
	c.sendSYN()
}

// established has a connection whose handshake is done.
func (l *tcpListener) established(c *tcpConn) {
	l.halfOpen--
	l.queue = append(l.queue, c)
	l.arrived.Signal()
}

func (l *tcpListener) accept() (*tcpConn, error) {
	l.h.w.lock()
	defer l.h.w.unlock()
	for {
		switch {
		case l.closed:
			return nil, net.ErrClosed
		case l.acceptBy.passed:
			return nil, os.ErrDeadlineExceeded
		case len(l.queue) > 0:
			c := l.queue[0]
			l.queue = l.queue[1:]
			return c, nil
		}
		l.h.w.wait(l.arrived)
	}
}

func (l *tcpListener) AcceptTCP() (transport.TCPConn, error) {
	c, err := l.accept()
	if err != nil {
		return nil, opError("accept", l.network, nil, l.Addr(), err)
	}
	return c, nil
}

func (l *tcpListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close resets the connections that nobody has accepted.
func (l *tcpListener) Close() error {
	l.h.w.lock()
	defer l.h.w.unlock()
	if l.closed {
		return opError("close", l.network, nil, l.Addr(), net.ErrClosed)
	}
	l.h.unbind(l.b)
	waiting := l.queue
	l.shut()
	for _, c := range waiting {
		c.reset()
	}
	for _, c := range l.h.conns {
		if c.listener == l {
			c.reset()
		}
	}
	return nil
}

func (l *tcpListener) shut() {
	l.closed, l.queue = true, nil
	l.acceptBy.set(time.Time{})
	l.arrived.Broadcast()
}

func (l *tcpListener) Addr() net.Addr { return tcpAddr(l.b.local()) }

func (l *tcpListener) SetDeadline(t time.Time) error {
	l.h.w.lock()
	defer l.h.w.unlock()
	if l.closed {
		return opError("set", l.network, nil, l.Addr(), net.ErrClosed)
	}
	l.acceptBy.set(t)
	return nil
}
