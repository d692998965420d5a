package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v5"
)

// generator opens relay sockets for the TURN library. It is a
// [turn.RelayAddressGenerator].
type generator struct {
	addresses addresses
	table     *table
	policy    *policy
	metrics   *metrics
}

var (
	errNoOwner    = errors.New("even ports are not reserved")
	errNoTCPRelay = errors.New("TCP is not relayed")
	errNoFamily   = errors.New("no relay address of that family")
)

// Validate implements [turn.RelayAddressGenerator].
func (g *generator) Validate() error { return nil }

// AllocatePacketConn opens the relay socket of an allocation. Without a user it
// is the library that looks for an even port (EVEN-PORT), by opening sockets
// until one has it: up to 128 for one request, and nobody who uses WebRTC asks.
func (g *generator) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	if c.UserID == "" || c.RequestedPort != 0 {
		g.metrics.refusals[refusedEvenPort].Inc()
		return nil, nil, errNoOwner
	}
	owner, from, err := parseUserID(c.UserID)
	if err != nil {
		return nil, nil, err
	}
	conn, err := g.open(c.Network, owner, from)
	if err != nil {
		g.table.cancel(from)
		g.metrics.refusals[refusalOf(err)].Inc()
		return nil, nil, err
	}
	return conn, net.UDPAddrFromAddrPort(conn.allocation.relay), nil
}

func refusalOf(err error) refusal {
	switch {
	case errors.Is(err, errQuotaUser):
		return refusedQuotaUser
	case errors.Is(err, errQuotaCall):
		return refusedQuotaCall
	case errors.Is(err, errQuotaSource):
		return refusedQuotaSource
	case errors.Is(err, errQuotaTotal):
		return refusedQuotaTotal
	case errors.Is(err, errDraining):
		return refusedDraining
	case errors.Is(err, errNoFamily):
		return refusedFamily
	}
	return refusedPorts
}

// AllocateListener refuses TCP allocations (RFC 6062): what they reach over TCP
// is worth far more to an attacker than what packets reach.
func (g *generator) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCPRelay
}

// AllocateConn refuses connections to peers, as AllocateListener does.
func (g *generator) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) {
	return nil, errNoTCPRelay
}

func (g *generator) open(network string, owner identity, from client) (*relayConn, error) {
	list := g.addresses.four
	if network == "udp6" {
		list = g.addresses.six
	}
	if len(list) == 0 {
		return nil, errNoFamily
	}
	at, ok := leastUsed(list)
	if !ok {
		return nil, errNoPort
	}
	socket, port, err := g.listen(network, at)
	if err != nil {
		return nil, err
	}
	c := &relayConn{UDPConn: socket, at: at, of: g, allocation: &allocation{
		owner: owner, client: from, relay: netip.AddrPortFrom(at.public, port), port: port, opened: time.Now(),
	}}
	c.allocation.close = socket.Close
	if err := g.table.open(c.allocation); err != nil {
		at.ports.release(port)
		return nil, errors.Join(err, socket.Close())
	}
	return c, nil
}

// listen opens a socket on a random port. Other processes may have some of the
// range.
func (g *generator) listen(network string, at relayAddress) (*net.UDPConn, uint16, error) {
	const tries = 16
	var errs []error
	for range tries {
		port, err := at.ports.take()
		if err != nil {
			return nil, 0, err
		}
		socket, err := new(net.ListenConfig).ListenPacket(context.Background(), network, netip.AddrPortFrom(at.bind, port).String())
		if err == nil {
			return socket.(*net.UDPConn), port, nil
		}
		at.ports.release(port)
		errs = append(errs, err)
	}
	return nil, 0, fmt.Errorf("%w: %w", errNoPort, errors.Join(errs...))
}

// relayConn is the relay socket of an allocation. The TURN library reads it in
// one goroutine; Close ends that, and the allocation.
type relayConn struct {
	*net.UDPConn
	at         relayAddress
	of         *generator
	allocation *allocation
	once       sync.Once
	forgotten  atomic.Bool // the library closed it, and has forgotten the allocation
}

// WriteTo sends a packet to a peer, when the policy allows it: permissions have
// no port, and what an address is may have changed since they were given. Packets
// that are not sent are lost, as UDP's are; an error would only be formatted and
// forgotten.
func (c *relayConn) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not a UDP address")
	}
	peer := netip.AddrPortFrom(udp.AddrPort().Addr().Unmap(), uint16(udp.Port))
	if d := c.of.policy.packet(peer); d != allowed {
		c.of.metrics.denied[d].Inc()
		return len(b), nil
	}
	if peer.Addr() == c.at.public && peer.Port() == c.allocation.port {
		c.of.metrics.denied[deniedOwn].Inc() // to itself, for ever
		return len(b), nil
	}
	if _, err := c.WriteToUDPAddrPort(b, c.of.addresses.inward(peer)); err != nil {
		if errors.Is(err, net.ErrClosed) {
			return 0, err
		}
		c.of.metrics.drops[dropSend].Inc()
		return len(b), nil
	}
	c.of.metrics.up.add(len(b))
	if c.of.table.draining.Load() {
		c.allocation.note(b)
	}
	return len(b), nil
}

// ReadFrom receives a packet from a peer. Packets that do not leave a byte of b
// free are lost, because they may be cut. It fails when the socket is closed, and then only, because the
// library ends the allocation at the first error.
func (c *relayConn) ReadFrom(b []byte) (int, net.Addr, error) {
	var pause backoff
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			if c.forgotten.Load() && !c.of.table.ending.Load() {
				runtime.Goexit()
			}
			return 0, nil, err
		case err != nil:
			c.of.metrics.drops[dropReceive].Inc()
			pause.wait(nil)
		case n == len(b):
			c.of.metrics.drops[dropTruncated].Inc()
		default:
			if c.of.table.draining.Load() {
				c.allocation.note(b[:n])
			}
			return n, net.UDPAddrFromAddrPort(c.of.addresses.outward(from)), nil
		}
	}
}

// Close is called by the library when the allocation ends. It is no longer
// counted then, and its port is free.
func (c *relayConn) Close() error {
	c.once.Do(func() {
		c.forgotten.Store(true)
		c.UDPConn.Close()
		c.of.table.remove(c.allocation)
		c.at.ports.release(c.allocation.port)
	})
	return nil
}
