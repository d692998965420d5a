package relay

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"switchboard/relay/internal/datagram"
)

const (
	// receiveBuffer is what the kernel is asked to keep for a UDP listener, in bytes: many
	// clients share it. Without rights, it gives net.core.rmem_max.
	receiveBuffer = 4 << 20
	// batch is how many packets are received with one call, those that the kernel joins
	// counted once.
	batch = 32
	// gather is how long packets may gather where there are many: a fiftieth of what
	// ear and eye put up with in a call.
	gather = 200 * time.Microsecond
	// frontInbox is how many messages of clients may wait for the library, and
	// relayInbox of the peers of an allocation. It takes some 10,000 in a second.
	frontInbox = 4096
	relayInbox = 256
)

// packetGuard is a UDP listener as the TURN library sees it: what it reads is all but
// ChannelData, which goes to peers from here. The library reads it in one goroutine, and
// writes from many; the loop receives for it, and for the allocations of its clients.
type packetGuard struct {
	// Static after newPacketGuard.
	socket *datagram.Socket
	loop   *datagram.Loop
	guard  *guard
	flows  *flows
	inbox  *inbox
	once   sync.Once

	// Owned by the loop.
	relays []*relayConn // that something of the batch goes out through
	queued []queued     // each in the place that it has in the batch
}

// queued is a message that goes out through a relay.
type queued struct {
	flow *flow
	next int // of the same relay, or -1
}

// newPacketGuard returns a listener on a connection, which it takes over.
func newPacketGuard(c net.PacketConn, g *guard, f *flows, how datagram.How) (*packetGuard, error) {
	if udp, ok := c.(*net.UDPConn); ok {
		udp.SetReadBuffer(receiveBuffer)
		udp.SetWriteBuffer(receiveBuffer)
	}
	socket, err := datagram.New(c, how)
	if err != nil {
		return nil, err
	}
	loop, err := datagram.NewLoop(batch, maxMessage, how, gather)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	p := &packetGuard{socket: socket, loop: loop, guard: g, flows: f, inbox: newInbox(frontInbox)}
	if err := loop.Add(socket, p.receive, func(error) { g.drop(dropReceive) }); err != nil {
		return nil, errors.Join(err, p.Close(), loop.Close())
	}
	return p, nil
}

// ReadFrom returns the next message for the library. It fails when the
// listener is closed, and then only: the library would serve nobody any more.
func (p *packetGuard) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		m, ok := p.inbox.take()
		if !ok {
			return 0, nil, net.ErrClosed
		}
		c := client{addr: m.from, over: overUDP}
		pass, answer := p.guard.incoming(m.data, c)
		if answer != nil {
			p.send(answer, c)
		}
		if pass {
			return copy(b, m.data), net.UDPAddrFromAddrPort(c.addr), nil
		}
	}
}

// receive sends on what of a batch is ChannelData; the rest is for the library.
func (p *packetGuard) receive(b *datagram.Batch) {
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
			p.leave(m, b.From(i))
			continue
		}
		client, channel := b.From(i), binary.BigEndian.Uint16(m)
		if last == nil || last.client != client || last.channel != channel {
			last = p.flows.up(client, channel)
		}
		switch {
		case last == nil || last.front != p: // the kernel gives a client to another listener only as they close
			p.guard.drop(dropNoChannel)
		case last.apart:
			p.leave(m, client)
		case last.relay.mayGoUp(last, payload(m), now):
			p.queue(i, last)
			p.flows.offer(last)
		}
	}
	p.flush(b)
}

// leave leaves a message to the library.
func (p *packetGuard) leave(m []byte, from netip.AddrPort) {
	if !p.inbox.put(m, from) {
		p.guard.drop(dropBusy)
	}
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
	if err := p.socket.Send(b, c.addr); err != nil && !errors.Is(err, net.ErrClosed) {
		p.guard.drop(dropSend)
	}
}

// The library asks for no deadlines.

func (p *packetGuard) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (p *packetGuard) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (p *packetGuard) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// LocalAddr is where clients reach it.
func (p *packetGuard) LocalAddr() net.Addr { return p.socket.LocalAddr() }

// Close closes the listener. Further calls do nothing. The loop goes on, for the
// allocations.
func (p *packetGuard) Close() (err error) {
	p.once.Do(func() {
		p.inbox.end()
		err = p.socket.Close()
	})
	return err
}
