package relay

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// connections are the open TCP and TLS connections. It may be used by several
// goroutines.
type connections struct {
	// Static after newConnections.
	limits  Limits
	metrics *metrics

	// Guarded by mu.
	mu       sync.Mutex
	open     map[*streamConn]struct{}
	bySource map[netip.Addr]int

	running sync.WaitGroup // counts what is open
}

func newConnections(l Limits, m *metrics) *connections {
	return &connections{limits: l, metrics: m, open: make(map[*streamConn]struct{}), bySource: make(map[netip.Addr]int)}
}

// enter counts a new connection, or says which limit it would exceed.
func (s *connections) enter(c *streamConn) (connectionEnd, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := source(c.client.addr.Addr())
	switch {
	case len(s.open) >= s.limits.Connections:
		return endTotal, false
	case s.bySource[from] >= s.limits.ConnectionsPerSource:
		return endSource, false
	}
	s.open[c] = struct{}{}
	s.bySource[from]++
	s.running.Add(1)
	s.metrics.connections[c.client.over].Inc()
	return "", true
}

func (s *connections) leave(c *streamConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	decrement(s.bySource, source(c.client.addr.Addr()))
	s.metrics.connections[c.client.over].Dec()
	s.running.Done()
}

// closeAll ends every connection and returns when all have ended.
func (s *connections) closeAll() {
	s.mu.Lock()
	open := make([]*streamConn, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		c.end(endServer)
	}
	s.running.Wait()
}

// streamListener is a TCP or TLS listener as the TURN library sees it. The
// library would stop for good at the first error, and would leave a connection
// open whose handshake failed; so this accepts and shakes hands itself.
type streamListener struct {
	net.Listener
	over        transport
	tls         *tls.Config // nil over TCP
	guard       *guard
	connections *connections
	ready       chan net.Conn
	closed      chan struct{}
	once        sync.Once
	accepting   sync.WaitGroup
	shaking     sync.WaitGroup // handshakes
}

func newStreamListener(ln net.Listener, over transport, config *tls.Config, g *guard, s *connections) *streamListener {
	return &streamListener{
		Listener: ln, over: over, tls: config, guard: g, connections: s,
		ready: make(chan net.Conn), closed: make(chan struct{}),
	}
}

// start starts to accept. Close ends that.
func (l *streamListener) start() { l.accepting.Go(l.acceptAll) }

func (l *streamListener) acceptAll() {
	var pause backoff
	for {
		conn, err := l.Listener.Accept()
		switch {
		case err != nil && (l.isClosed() || errors.Is(err, net.ErrClosed)): // not every network says why
			return
		case err != nil: // no file is free, or the client has gone
			l.connections.metrics.acceptErrors.Inc()
			pause.wait(l.closed)
			continue
		}
		pause.reset()
		l.receive(conn)
	}
}

func (l *streamListener) receive(conn net.Conn) {
	c := newStreamConn(l, conn)
	if why, ok := l.connections.enter(c); !ok {
		l.connections.metrics.connectionEnds[why].Inc()
		conn.Close()
		return
	}
	if l.tls == nil {
		l.deliver(c)
		return
	}
	l.shaking.Go(func() {
		if err := c.handshake(l.tls); err != nil {
			c.end(endHandshake)
			return
		}
		l.deliver(c)
	})
}

func (l *streamListener) deliver(c *streamConn) {
	c.first = time.Now().Add(l.connections.limits.HandshakeTimeout)
	select {
	case l.ready <- c:
	case <-l.closed:
		c.end(endServer)
	}
}

// Accept returns the next connection that is ready to be read.
func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *streamListener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// Close stops accepting. Further calls do nothing.
func (l *streamListener) Close() (err error) {
	l.once.Do(func() {
		close(l.closed)
		err = l.Listener.Close()
	})
	return err
}

// streamConn is a TCP or TLS connection as the TURN library sees it: each Read
// returns one whole message. The library reads it in one goroutine, and writes
// from two.
type streamConn struct {
	net.Conn // the TLS connection, over TLS
	raw      net.Conn
	client   client
	listener *streamListener
	once     sync.Once

	// Owned by the goroutine that reads.
	in    *bufio.Reader
	first time.Time // when the first message must be here; zero after it
}

// writeTimeout is how long a client may not read before the connection ends: it
// would hold the goroutine that relays to it.
const writeTimeout = 5 * time.Second

func newStreamConn(l *streamListener, conn net.Conn) *streamConn {
	addr := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	return &streamConn{
		Conn: conn, raw: conn, listener: l, in: bufio.NewReaderSize(conn, 2048),
		client: client{addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), over: l.over},
	}
}

// handshake makes it a TLS connection.
func (c *streamConn) handshake(config *tls.Config) error {
	conn := tls.Server(c.raw, config)
	c.Conn, c.in = conn, bufio.NewReaderSize(conn, 2048)
	if err := conn.SetDeadline(time.Now().Add(c.listener.connections.limits.HandshakeTimeout)); err != nil {
		return err
	}
	if err := conn.Handshake(); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// Read returns the next message for the library, whole.
func (c *streamConn) Read(p []byte) (int, error) {
	for {
		b, err := c.next(p)
		if err != nil {
			c.end(endOf(err))
			return 0, err
		}
		c.first = time.Time{}
		pass, answer := c.listener.guard.incoming(b, c.client)
		if answer != nil {
			c.send(answer)
		}
		if pass {
			return len(b) + copy(p[len(b):], filler(len(b))), nil
		}
	}
}

// filler follows a message that is so short that the library would wait for the
// next before it looks at it: a STUN Binding indication, which it passes over.
func filler(length int) []byte {
	if length >= 9 {
		return nil
	}
	return []byte{0x00, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42, 11: 0, 19: 0}
}

var (
	errSilent  = errors.New("nothing came in time")
	errStalled = errors.New("the rest of a message did not come in time")
)

func endOf(err error) connectionEnd {
	switch {
	case errors.Is(err, errSilent):
		return endSilent
	case errors.Is(err, errStalled):
		return endStalled
	case errors.Is(err, errFrame):
		return endGarbage
	}
	return endClient
}

// next reads one message into p. Messages that are too long to be relayed are
// read and dropped.
func (c *streamConn) next(p []byte) ([]byte, error) {
	for {
		if err := c.begin(); err != nil {
			return nil, err
		}
		n, err := c.length()
		if err != nil {
			return nil, stalled(err)
		}
		if n <= maxMessage {
			_, err := io.ReadFull(c.in, p[:n])
			return p[:n], stalled(err)
		}
		if !c.hasAllocation() {
			return nil, errFrame // no stranger has so much to say
		}
		c.listener.guard.drop(dropTooLarge)
		if _, err := c.in.Discard(n); err != nil {
			return nil, stalled(err)
		}
	}
}

// begin waits for the first byte of a message, and sets the deadline for the
// rest. A connection with an allocation may be silent for as long as that lives.
func (c *streamConn) begin() error {
	idle := c.listener.connections.limits.IdleTimeout
	if c.in.Buffered() > 0 && c.first.IsZero() {
		return c.SetReadDeadline(time.Now().Add(idle))
	}
	for {
		deadline := c.first
		if deadline.IsZero() {
			deadline = time.Now().Add(idle)
		}
		if err := c.SetReadDeadline(deadline); err != nil {
			return err
		}
		_, err := c.in.Peek(1)
		switch {
		case err == nil && c.first.IsZero():
			return c.SetReadDeadline(time.Now().Add(idle))
		case err == nil:
			return nil // the first message has one deadline for all of it
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case !c.hasAllocation():
			return errSilent
		}
	}
}

// length returns the length of the message that has begun.
func (c *streamConn) length() (int, error) {
	for _, enough := range []int{channelHeader, 8} {
		b, err := c.in.Peek(enough)
		if err != nil {
			return 0, err
		}
		if n, err := frameLength(b); err != nil || n != 0 {
			return n, err
		}
	}
	return 0, errFrame
}

func stalled(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errStalled
	}
	return err
}

func (c *streamConn) hasAllocation() bool { return c.listener.guard.table.of(c.client) != nil }

// Write sends what the library has for the client.
func (c *streamConn) Write(b []byte) (int, error) {
	if !c.listener.guard.outgoing(b, c.client) {
		return len(b), nil
	}
	return c.send(b)
}

func (c *streamConn) send(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.end(endStalled)
	case err != nil:
		c.end(endClient)
	}
	return n, err
}

// Close ends the connection.
func (c *streamConn) Close() error {
	c.end(endServer)
	return nil
}

// end ends the connection. The first reason counts.
func (c *streamConn) end(why connectionEnd) {
	c.once.Do(func() {
		c.listener.connections.metrics.connectionEnds[why].Inc()
		c.raw.SetDeadline(time.Now()) // or else TLS would take its time to say goodbye
		c.raw.Close()
		c.listener.connections.leave(c)
	})
}
