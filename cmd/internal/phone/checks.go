package phone

import (
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/pion/stun/v4"
	"github.com/pion/transport/v5"
)

// maxCheckers is from how many endpoints a phone takes connectivity checks, in one
// generation of ICE. RFC 8445 section 6.1.2.5 wants a limit of that kind, of 100 pairs, and the
// ICE library has none: between two NATs that give each destination a port of its own and
// do not filter by port, each check comes from a new endpoint, which is checked from every
// socket, each time from another port, so that both sides check more and more without
// end.
const maxCheckers = 64

// checkers are the endpoints from which checks have come. It may be used by several
// goroutines.
type checkers struct {
	mu   sync.Mutex
	seen map[netip.AddrPort]struct{} // guarded by mu
	told map[netip.AddrPort]struct{} // the other side's candidates, whose checks are always taken; guarded by mu
}

// maxTold bounds the candidates that are noted.
const maxTold = 256

// tell notes a candidate of the other side (RFC 8839 section 5.1).
func (c *checkers) tell(candidate string) {
	f := strings.Fields(candidate)
	if len(f) < 6 {
		return
	}
	at, err := netip.ParseAddrPort(net.JoinHostPort(f[4], f[5]))
	if err != nil {
		return // a name, which nothing comes from
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told == nil {
		c.told = map[netip.AddrPort]struct{}{}
	}
	if len(c.told) < maxTold {
		c.told[unmapped(at)] = struct{}{}
	}
}

func unmapped(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// reset begins another generation.
func (c *checkers) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen, c.told = nil, nil
}

// admits reports whether a packet from an endpoint is taken.
func (c *checkers) admits(packet []byte, from net.Addr) bool {
	if !isCheck(packet) {
		return true
	}
	udp, ok := from.(*net.UDPAddr)
	if !ok {
		return true
	}
	at := unmapped(udp.AddrPort())
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.seen[at]; known {
		return true
	}
	if _, known := c.told[at]; known {
		return true
	}
	if len(c.seen) >= maxCheckers {
		return false
	}
	if c.seen == nil {
		c.seen = map[netip.AddrPort]struct{}{}
	}
	c.seen[at] = struct{}{}
	return true
}

// isCheck reports whether a packet is a Binding request (RFC 8489 section 5).
func isCheck(b []byte) bool {
	return len(b) >= 20 && b[0] == 0 && b[1] == 1 && stun.IsMessage(b)
}

// ListenUDP opens a socket for the other side's packets.
func (n *network) ListenUDP(network string, at *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.Net.ListenUDP(network, at)
	if err != nil {
		return nil, err
	}
	return &peerSocket{c, &n.checkers}, nil
}

// peerSocket is a socket that hears the other side.
type peerSocket struct {
	transport.UDPConn
	checkers *checkers
}

// ReadFrom returns the next packet that is taken.
func (s *peerSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.UDPConn.ReadFrom(b)
		if err != nil || s.checkers.admits(b[:n], from) {
			return n, from, err
		}
	}
}
