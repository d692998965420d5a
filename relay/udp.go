package relay

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"

	"switchboard/relay/internal/datagram"
)

const (
	// receiveBuffer is what the kernel is asked to keep for a UDP listener, in bytes: many
	// clients share it. Without rights, it gives net.core.rmem_max.
	receiveBuffer = 4 << 20
	// frontBatch is from how many clients datagrams are received at once, and relayBatch
	// from how many peers of an allocation.
	frontBatch = 32
	relayBatch = 8
)

// packetGuard is a UDP listener as the TURN library sees it: what it reads is all but
// ChannelData, which goes to peers from here. The library reads it in one goroutine, and
// writes from many, as do the allocations of its clients.
type packetGuard struct {
	*net.UDPConn
	socket *datagram.Socket
	guard  *guard
	flows  *flows
	pool   *datagram.Pool
	local  net.Addr
	closed chan struct{}
	once   sync.Once

	// Owned by the goroutine that reads.
	batch   *datagram.Batch // that some of is for the library, or nil
	waiting []int           // what of it is
	taken   int             // how many of these it has had
	relays  []*relayConn    // that something of the batch goes out through
	queued  []queued        // each in the place that it has in the batch
}

// queued is a message that goes out through a relay.
type queued struct {
	flow *flow
	next int // of the same relay, or -1
}

func newPacketGuard(c *net.UDPConn, g *guard, f *flows, how datagram.How) (*packetGuard, error) {
	c.SetReadBuffer(receiveBuffer)
	c.SetWriteBuffer(receiveBuffer)
	socket, err := datagram.New(c, how)
	if err != nil {
		return nil, err
	}
	return &packetGuard{
		UDPConn: c, socket: socket, guard: g, flows: f, pool: datagram.NewPool(frontBatch, maxMessage),
		local: c.LocalAddr(), closed: make(chan struct{}),
	}, nil
}

// ReadFrom returns the next message for the library. It fails when the
// listener is closed, and then only: the library would serve nobody any more.
func (p *packetGuard) ReadFrom(b []byte) (int, net.Addr, error) {
	var pause backoff
	for {
		for p.batch != nil {
			if n, from := p.take(b); from != nil {
				return n, from, nil
			}
		}
		err := p.socket.Receive(p.pool, p.receive)
		switch {
		case errors.Is(err, net.ErrClosed):
			return 0, nil, err
		case err != nil:
			p.guard.drop(dropReceive)
			pause.wait(p.closed)
		default:
			pause.reset()
		}
	}
}

// take takes the next message of the batch to b, if the library should have it.
func (p *packetGuard) take(b []byte) (int, net.Addr) {
	if p.taken == len(p.waiting) {
		p.pool.Put(p.batch)
		p.batch = nil
		return 0, nil
	}
	i := p.waiting[p.taken]
	p.taken++
	m := b[:copy(b, p.batch.Data(i))]
	c := client{addr: p.batch.From(i), over: overUDP}
	pass, answer := p.guard.incoming(m, c)
	if answer != nil {
		p.send(answer, c)
	}
	if !pass {
		return 0, nil
	}
	return len(m), net.UDPAddrFromAddrPort(c.addr)
}

// receive sends on what of a batch is ChannelData, and reports whether something is
// left.
func (p *packetGuard) receive(b *datagram.Batch) bool {
	p.waiting, p.taken = p.waiting[:0], 0
	now, last := tick(), (*flow)(nil)
	if n := b.Len(); n > len(p.queued) {
		p.queued = append(p.queued, make([]queued, n-len(p.queued))...)
	}
	for i := range b.Len() {
		m := b.Data(i)
		switch {
		case !b.Whole(i) || len(m) > maxMessage:
			p.guard.drop(dropTooLarge)
			continue
		case !datagramShaped(m):
			p.guard.drop(dropShape)
			continue
		case !isData(m):
			p.waiting = append(p.waiting, i)
			continue
		}
		client, channel := b.From(i), binary.BigEndian.Uint16(m)
		if last == nil || last.client != client || last.channel != channel {
			last = p.flows.up(client, channel)
		}
		switch {
		case last == nil:
			p.guard.drop(dropNoChannel)
		case last.apart:
			p.waiting = append(p.waiting, i)
		case last.relay.mayGoUp(last, payload(m), now):
			p.queue(i, last)
		}
	}
	p.flush(b)
	if len(p.waiting) == 0 {
		return false
	}
	p.batch = b
	return true
}

// payload is what a whole message of ChannelData carries.
func payload(m []byte) []byte {
	return m[channelHeader : channelHeader+int(binary.BigEndian.Uint16(m[2:]))]
}

// queue has the message i go out through the relay of its flow, after those that do
// already.
func (p *packetGuard) queue(i int, f *flow) {
	p.queued[i] = queued{f, -1}
	q := &f.relay.queue
	if q.n == 0 {
		p.relays = append(p.relays, f.relay)
		q.first = i
	} else {
		p.queued[q.last].next = i
	}
	q.n++
	q.last = i
}

// flush sends what is queued, what goes out through one relay together.
func (p *packetGuard) flush(b *datagram.Batch) {
	packets, bytes, lost := 0, 0, 0
	for _, c := range p.relays {
		for i := c.queue.first; i >= 0; i = p.queued[i].next {
			data := payload(b.Data(i))
			bytes += len(data)
			b.Out.Add(data, p.queued[i].flow.toPeer)
			p.queued[i].flow = nil
		}
		packets += c.queue.n
		c.queue.n = 0
		lost += b.Out.Flush(c.socket)
	}
	clear(p.relays)
	p.relays = p.relays[:0]
	if packets > 0 {
		p.guard.metrics.up.addAll(packets-lost, bytes)
	}
	if lost > 0 {
		p.guard.metrics.drops[dropSend].Add(float64(lost))
	}
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
