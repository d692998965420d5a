package phone

import (
	"cmp"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

// keepAlive is how long a socket to a relay may be idle. It fits twice into 30 s, after
// which many NATs forget a mapping (RFC 4787 section 4.3 would have two minutes), and with
// it the relay an allocation: it knows clients by their address. The TURN client has
// nothing to say for minutes, as while it rings, or while media goes another way.
const keepAlive = 12 * time.Second

// relaySocket is a socket that sends to one relay over UDP. It keeps the NATs on the way
// from forgetting it, until it is closed.
type relaySocket struct {
	net.PacketConn
	network *network
	silence silence
	refused refusals

	mu    sync.Mutex
	relay net.Addr    // guarded by mu; nil before the first packet
	sent  time.Time   // the last packet; guarded by mu
	alarm *time.Timer // guarded by mu; nil before the first packet
	over  bool        // guarded by mu
}

func newRelaySocket(c net.PacketConn, n *network) *relaySocket {
	s := &relaySocket{PacketConn: c, network: n}
	s.silence.broken = func() { n.unlessCarrier(s.LocalAddr().String(), s.Close) }
	return s
}

// WriteTo sends to the relay.
func (s *relaySocket) WriteTo(b []byte, to net.Addr) (int, error) {
	s.mu.Lock()
	if s.sent = time.Now(); s.relay == nil && !s.over {
		s.relay = to
		s.alarm = time.AfterFunc(keepAlive, s.keep)
		s.network.note(s.LocalAddr(), to, way{"udp", s.network.nameOf(to)})
	}
	s.mu.Unlock()
	if err := s.refused.sent(b); err != nil {
		return 0, err
	}
	s.silence.sent(b)
	return s.PacketConn.WriteTo(b, to)
}

// LocalAddr is the socket's, see [network.relayFamily].
func (s *relaySocket) LocalAddr() net.Addr { return s.network.relayFamily(s.PacketConn.LocalAddr()) }

// ReadFrom returns what the relay has sent next.
func (s *relaySocket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.PacketConn.ReadFrom(b)
	if err != nil {
		return n, from, err
	}
	s.silence.heard()
	s.refused.heard(b[:n])
	if isAllocated(b[:n]) {
		s.mu.Lock()
		relay := s.relay
		s.mu.Unlock()
		if relay != nil {
			s.network.order.answers(way{"udp", s.network.nameOf(relay)})
		}
	}
	return n, from, nil
}

// isAllocated reports whether a packet is the success of an allocation (RFC 8656 section
// 7.3).
func isAllocated(b []byte) bool {
	return len(b) >= 20 && b[0] == 1 && b[1] == 3 && stun.IsMessage(b)
}

// keep asks the relay for nothing in particular, if nothing else was sent for long. That
// the answer is one to no question of its own, the TURN client passes over.
func (s *relaySocket) keep() {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	idle := time.Since(s.sent) >= keepAlive
	if idle {
		s.sent = time.Now()
	}
	s.alarm.Reset(time.Until(s.sent.Add(keepAlive)))
	s.mu.Unlock()
	if !idle {
		return
	}
	if m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint); err == nil {
		_, _ = s.PacketConn.WriteTo(m.Raw, s.relay) // what is lost is no loss
	}
}

// Close closes the socket. It may be called again.
func (s *relaySocket) Close() error {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return nil
	}
	if s.over = true; s.alarm != nil {
		s.alarm.Stop()
	}
	s.mu.Unlock()
	s.silence.end()
	s.network.forget(s.LocalAddr())
	return s.PacketConn.Close()
}

// relayConn is a connection to a relay.
type relayConn struct {
	net.Conn
	network *network
	way     way
	silence silence
	refused refusals
	end     func() error // once
}

func newRelayConn(c net.Conn, n *network, w way) *relayConn {
	r := &relayConn{Conn: c, network: n, way: w}
	r.end = sync.OnceValue(func() error {
		r.silence.end()
		n.forget(r.LocalAddr())
		return c.Close()
	})
	r.silence.broken = func() { n.unlessCarrier(r.LocalAddr().String(), r.end) }
	return r
}

// LocalAddr is the connection's, see [network.relayFamily].
func (c *relayConn) LocalAddr() net.Addr { return c.network.relayFamily(c.Conn.LocalAddr()) }

// writeWithin bounds a write to a relay over a connection. The ICE library does nothing
// else meanwhile, whatever other ways there are: a connection whose network is gone would
// have it stand still until TCP gives up, after a quarter of an hour.
const writeWithin = time.Second

// Write sends to the relay, a message at a time, or ends the connection.
func (c *relayConn) Write(b []byte) (int, error) {
	if err := c.refused.sent(b); err != nil {
		return 0, err
	}
	c.silence.sent(b)
	if err := c.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// What the relay has of b may be a part of it: nothing can follow.
		err = errors.Join(err, c.Close())
	}
	return n, err
}

// Read reads what the relay has sent.
func (c *relayConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.silence.heard()
		c.refused.heard(b[:n])
		if isAllocated(b[:n]) {
			c.network.order.answers(c.way)
		}
	}
	return n, err
}

// Close closes the connection. It may be called again.
func (c *relayConn) Close() error { return c.end() }

// nameOf is what a relay is called in its URL, host:port, or its address.
func (n *network) nameOf(relay net.Addr) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return cmp.Or(n.named[relay.String()], relay.String())
}
