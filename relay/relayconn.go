package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v5"

	"switchboard/relay/internal/datagram"
)

// generator opens relay sockets for the TURN library. It is a
// [turn.RelayAddressGenerator].
type generator struct {
	addresses addresses
	table     *table
	policy    *policy
	metrics   *metrics
	flows     *flows
	bandwidth int // Mbit/s of an allocation
	users     *userMeters
	all       *meters // of the relay
	how       datagram.How
	network   network
	// Those whose clients the allocations are for.
	loop  *datagram.Loop // that receives for relay sockets
	front *packetGuard   // nil where they are not clients over UDP
}

var (
	errNoOwner    = errors.New("even ports are not reserved")
	errNoTCPRelay = errors.New("TCP is not relayed")
	errNoFamily   = errors.New("no relay address of that family")
)

// of returns a generator for clients of a listener, or of none, whose sockets are
// received from by a loop.
func (g *generator) of(front *packetGuard, l *datagram.Loop) *generator {
	of := *g
	of.front, of.loop = front, l
	return &of
}

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

func (g *generator) open(family string, owner identity, from client) (*relayConn, error) {
	list := g.addresses.four
	if family == "udp6" {
		list = g.addresses.six
	}
	if len(list) == 0 {
		return nil, errNoFamily
	}
	at, ok := leastUsed(list)
	if !ok {
		return nil, errNoPort
	}
	socket, port, err := g.listen(family, at)
	if err != nil {
		return nil, err
	}
	c := &relayConn{inbox: newInbox(relayInbox), at: at, of: g, own: newMeters(g.bandwidth), allocation: &allocation{
		owner: owner, client: from, relay: netip.AddrPortFrom(at.public, port), port: port, opened: time.Now(),
	}}
	if c.socket, err = datagram.New(socket, g.how); err != nil {
		at.ports.release(port)
		return nil, err
	}
	c.allocation.close, c.allocation.conn = c.end, c
	if err := g.table.open(c.allocation); err != nil {
		at.ports.release(port)
		return nil, errors.Join(err, c.end())
	}
	c.user = g.users.enter(owner.user)
	if err := g.loop.Add(c.socket, c.receive, c.failed); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// listen opens a socket on a random port. Other processes may have some of the
// range.
func (g *generator) listen(family string, at relayAddress) (net.PacketConn, uint16, error) {
	const tries = 16
	var errs []error
	for range tries {
		port, err := at.ports.take()
		if err != nil {
			return nil, 0, err
		}
		socket, err := g.network.open(family, netip.AddrPortFrom(at.bind, port).String())
		if err == nil {
			return socket, port, nil
		}
		at.ports.release(port)
		errs = append(errs, err)
	}
	return nil, 0, fmt.Errorf("%w: %w", errNoPort, errors.Join(errs...))
}

// relayConn is the relay socket of an allocation. What it receives from peers with a
// channel over UDP goes to the client from here; the rest is for the TURN library, which
// reads it in one goroutine. Close ends that, and the allocation.
type relayConn struct {
	// Static once the allocation is in the table.
	socket     *datagram.Socket
	inbox      *inbox
	at         relayAddress
	of         *generator
	allocation *allocation
	own, user  *meters

	flows     atomic.Pointer[[]*flow] // of its channels; changed by flows
	once      sync.Once
	forgotten atomic.Bool // the library closed it, and has forgotten the allocation

	// Owned by the loop of the client's listener.
	queue struct{ n, first, last int } // of messages of its batch
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
	if peer == c.allocation.relay {
		c.of.metrics.denied[deniedOwn].Inc() // to itself, for ever
		return len(b), nil
	}
	if !c.carries(b, c.own.up, c.user.up, c.of.all.up, tick()) {
		return len(b), nil
	}
	if err := c.socket.Send(b, c.of.addresses.inward(peer)); err != nil {
		if errors.Is(err, net.ErrClosed) {
			return 0, err
		}
		c.of.metrics.drops[dropSend].Inc()
		return len(b), nil
	}
	c.of.metrics.up.add(len(b))
	return len(b), nil
}

// mayGoUp reports whether a packet that came in a flow goes to its peer.
func (c *relayConn) mayGoUp(f *flow, b []byte, now int64) bool {
	if d := c.of.policy.judge(f); d != allowed {
		c.of.metrics.denied[d].Inc()
		return false
	}
	return c.carries(b, c.own.up, c.user.up, c.of.all.up, now)
}

// carries reports whether a packet is within the bandwidth, and notes that it comes.
func (c *relayConn) carries(b []byte, own, user, all *meter, now int64) bool {
	if !own.take(len(b), now) || !user.take(len(b), now) || !all.take(len(b), now) {
		c.of.metrics.drops[dropBandwidth].Inc()
		return false
	}
	if c.of.table.draining.Load() {
		c.allocation.note(b)
	}
	return true
}

// ReadFrom returns the next packet from a peer for the library. It fails when the socket
// is closed, and then only, because the library ends the allocation at the first error.
func (c *relayConn) ReadFrom(b []byte) (int, net.Addr, error) {
	m, ok := c.inbox.take()
	if !ok {
		if c.forgotten.Load() && !c.of.table.ending.Load() {
			runtime.Goexit()
		}
		return 0, nil, net.ErrClosed
	}
	return copy(b, m.data), net.UDPAddrFromAddrPort(c.of.addresses.outward(m.from)), nil
}

func (c *relayConn) failed(error) { c.of.metrics.drops[dropReceive].Inc() }

// receive sends to the client what of a batch comes from peers with a channel; the rest
// is for the library. Packets that are too long are lost, because they may be cut. What
// the client has not asked for goes no further, before it takes anything of what is his.
func (c *relayConn) receive(b *datagram.Batch) {
	var front *packetGuard
	now, last, packets, bytes := tick(), (*flow)(nil), 0, 0
	for i := range b.Len() {
		data := b.Data(i)
		if !b.Whole(i) || len(data) > maxPayload {
			c.of.metrics.drops[dropTruncated].Inc()
			continue
		}
		from := b.From(i)
		if last == nil || last.at != from {
			last = c.of.flows.down(c, from)
		}
		inChannel := last != nil && !last.apart
		switch {
		case heedsPermissions && (inChannel && !last.permitted.Load() || !inChannel && !c.of.table.permits(c.allocation, c.of.addresses.outward(from).Addr())):
			c.of.metrics.drops[dropNoPermission].Inc()
			continue
		case !c.carries(data, c.own.down, c.user.down, c.of.all.down, now):
			continue
		case !inChannel:
			if !c.intrude(data, from) && !c.inbox.put(data, from) {
				c.of.metrics.drops[dropBusy].Inc()
			}
			continue
		}
		b.Out.AddFramed(last.channel, uint16(len(data)), data, last.toClient)
		c.of.flows.offer(last)
		front, packets, bytes = last.front, packets+1, bytes+len(data)
	}
	if packets > 0 {
		c.sent(packets, bytes, b.Out.Flush(front.socket))
	}
}

func (c *relayConn) sent(packets, bytes, lost int) {
	c.of.metrics.down.addAll(packets-lost, bytes)
	if lost > 0 {
		c.of.metrics.drops[dropSend].Add(float64(lost))
	}
}

// end closes the socket, at which the library ends the allocation.
func (c *relayConn) end() error {
	if list := c.flows.Load(); list != nil {
		for _, f := range *list {
			f.gone.Store(true)
			f.endOffloaded()
		}
	}
	c.inbox.end()
	return c.socket.Close()
}

// LocalAddr is the address that the socket is bound to.
func (c *relayConn) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// The library asks for no deadlines.

func (c *relayConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (c *relayConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (c *relayConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// Close is called by the library when the allocation ends. It is no longer
// counted then, and its port is free.
func (c *relayConn) Close() error {
	c.once.Do(func() {
		c.forgotten.Store(true)
		_ = c.end() // fails if the socket is closed already
		c.of.table.remove(c.allocation)
		c.of.users.leave(c.allocation.owner.user)
		c.at.ports.release(c.allocation.port)
	})
	return nil
}
