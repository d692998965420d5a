// Package datagram receives and sends UDP datagrams, many with one system call where
// the kernel can.
//
// On Linux a [Batch] is filled by recvmmsg, and a [Sender] sends with sendmmsg. What comes
// from one address at once and is of one size, the kernel joins (UDP_GRO), and what goes
// to one, it cuts (UDP_SEGMENT): either costs it little more than one datagram. Elsewhere,
// and where [OneByOne] is asked for, each datagram takes a call. Nothing here allocates
// memory once a socket and a batch are there, and nothing waits for a lock.
package datagram

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// How says how datagrams are received and sent.
type How int

const (
	// Auto is the best that the kernel can.
	Auto How = iota
	// OneByOne takes a system call for each datagram, on every system.
	OneByOne
)

// Socket is a UDP socket. One goroutine may receive; any number may send.
type Socket struct {
	// Static after New.
	conn    *net.UDPConn
	raw     syscall.RawConn
	six     bool // its addresses are those of IPv6, IPv4 mapped to them
	batched bool

	system system

	// Owned by the goroutine that receives.
	pool    *Pool
	handle  func(*Batch) bool
	failure error
}

// New returns a socket on a connection, which stays the caller's to close.
func New(c *net.UDPConn, how How) (*Socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	s := &Socket{conn: c, raw: raw, six: !local.Is4(), batched: how == Auto && canBatch}
	s.open()
	return s, nil
}

// Describe says how the socket does it, and why.
func (s *Socket) Describe() string {
	switch {
	case !canBatch:
		return "one by one, as this system has no other way"
	case !s.batched:
		return "one by one, as was asked for"
	case s.segments():
		return "in batches, that the kernel segments"
	}
	return "in batches, that this kernel does not segment"
}

// Receive waits for datagrams and has handle look at them, time and again, until handle
// returns true. The batch that it returned true for is then the caller's, who puts it
// back into the pool; every other one is handle's until it returns. Receive returns the
// error when the kernel has one instead, which is [net.ErrClosed] once the socket is closed.
func (s *Socket) Receive(pool *Pool, handle func(*Batch) bool) error {
	s.pool, s.handle = pool, handle
	if s.batched {
		return s.receive()
	}
	for {
		b := pool.Get()
		if err := b.receiveOne(s.conn); err != nil {
			pool.Put(b)
			return err
		}
		if handle(b) {
			return nil
		}
		pool.Put(b)
	}
}

// Batch is room for datagrams that are received together. It belongs to one goroutine.
type Batch struct {
	// Out sends for whoever has the batch; what it was given is sent before the batch is
	// put back.
	Out Sender

	size   int // of the longest datagram that is whole
	room   int // for what the kernel gives at once
	buf    []byte
	pieces []piece
	slots  slots
}

// piece is a datagram in a batch.
type piece struct {
	at, size int // in buf
	slot     int
	from     netip.AddrPort // if it was received alone
	whole    bool
}

// Len is how many datagrams there are.
func (b *Batch) Len() int { return len(b.pieces) }

// Data is the datagram i.
func (b *Batch) Data(i int) []byte {
	p := &b.pieces[i]
	return b.buf[p.at : p.at+p.size]
}

// From is who sent the datagram i; an IPv4 address is one also on a socket for both
// families. The zone of a link-local address is its number.
func (b *Batch) From(i int) netip.AddrPort {
	if p := &b.pieces[i]; p.slot < 0 {
		return p.from
	}
	return b.slots.from(b.pieces[i].slot)
}

// Whole reports whether the datagram i is no longer than the longest that there is room
// for. What is not whole may be cut.
func (b *Batch) Whole(i int) bool { return b.pieces[i].whole }

func (b *Batch) receiveOne(c *net.UDPConn) error {
	n, from, err := c.ReadFromUDPAddrPort(b.buf[:b.size+1])
	if err != nil {
		return err
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	b.pieces = append(b.pieces, piece{size: n, slot: -1, from: from, whole: n <= b.size})
	return nil
}

// Pool keeps batches of one shape. It may be used by any number of goroutines; those
// that wait for datagrams have none of it.
type Pool struct{ free sync.Pool }

// NewPool returns a pool of batches that take what so many senders send at once, in
// datagrams of at most size bytes.
func NewPool(slots, size int) *Pool {
	p := &Pool{}
	p.free.New = func() any {
		b := &Batch{size: size, room: size + 1}
		most := slots
		if coalesces() {
			b.room, most = maxCoalesced, slots*maxSegments
		}
		b.buf = make([]byte, slots*b.room)
		b.pieces = make([]piece, 0, most)
		b.slots.open(b, slots)
		b.Out.open(most)
		return b
	}
	return p
}

// Get returns a batch, empty.
func (p *Pool) Get() *Batch {
	b := p.free.Get().(*Batch)
	b.pieces = b.pieces[:0]
	return b
}

// Put takes a batch back.
func (p *Pool) Put(b *Batch) { p.free.Put(b) }

const headerSize = 4

// datagram is one to be sent.
type datagram struct {
	header [headerSize]byte
	framed bool // the header is sent before data
	data   []byte
	to     *Address
}

func (d *datagram) size() int {
	if d.framed {
		return headerSize + len(d.data)
	}
	return len(d.data)
}

// Sender sends datagrams together. It belongs to one goroutine.
type Sender struct {
	list   []datagram
	system sending
}

func (s *Sender) open(datagrams int) {
	s.list = make([]datagram, 0, datagrams)
	s.system.open(datagrams)
}

// Add has data sent to an address by the next [Sender.Flush]; data stays as it is until
// then. There is room for as many as a batch has.
func (s *Sender) Add(data []byte, to *Address) { s.list = append(s.list, datagram{data: data, to: to}) }

// AddFramed is Add with four bytes before the data: the numbers a and b, big-endian.
func (s *Sender) AddFramed(a, b uint16, data []byte, to *Address) {
	s.list = append(s.list, datagram{
		header: [headerSize]byte{byte(a >> 8), byte(a), byte(b >> 8), byte(b)}, framed: true, data: data, to: to,
	})
}

// Flush sends what was added through a socket, and returns how many datagrams the kernel
// did not take: they are lost, as UDP's are.
func (s *Sender) Flush(through *Socket) (lost int) {
	if len(s.list) == 0 {
		return 0
	}
	if through.batched {
		lost = s.flush(through)
	} else {
		lost = s.sendEach(through.conn)
	}
	clear(s.list)
	s.list = s.list[:0]
	return lost
}

func (s *Sender) sendEach(c *net.UDPConn) (lost int) {
	var framed []byte
	for i := range s.list {
		d := &s.list[i]
		data := d.data
		if d.framed {
			framed = append(append(framed[:0], d.header[:]...), d.data...)
			data = framed
		}
		if _, err := c.WriteToUDPAddrPort(data, d.to.AddrPort); err != nil && !errors.Is(err, net.ErrClosed) {
			lost++
		}
	}
	return lost
}

// Address is where datagrams go, in the form in which one kind of socket wants it.
type Address struct {
	netip.AddrPort
	raw rawAddress
}

// Address returns an address for the socket.
func (s *Socket) Address(a netip.AddrPort) *Address {
	to := &Address{AddrPort: netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}
	to.raw.set(to.AddrPort, s.six)
	return to
}
