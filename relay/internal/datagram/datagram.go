// Package datagram receives and sends UDP datagrams, many with one system call where
// the kernel can.
//
// On Linux a [Batch] is filled by recvmmsg, and a [Sender] sends with sendmmsg, what
// goes to one address and is of one size as one buffer that the kernel cuts (UDP_SEGMENT),
// which costs it little more than one datagram. Elsewhere, and where [OneByOne] is
// asked for, each datagram takes a call. Nothing here allocates memory once a socket
// and a batch are there, and nothing waits for a lock.
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

	room, headroom, size int
	n                    int
	buf                  []byte
	one                  netip.AddrPort // from whom, if there is one alone
	cut                  bool           // that one is not whole
	oneByOne             bool
	slots                slots
}

// Len is how many datagrams there are.
func (b *Batch) Len() int { return b.n }

// Data is the datagram i.
func (b *Batch) Data(i int) []byte { return b.Framed(i, 0) }

// Framed is the datagram i with some bytes before it, at most the headroom, that whoever
// has the batch may write.
func (b *Batch) Framed(i, before int) []byte {
	at := i*b.stride() + b.headroom
	return b.buf[at-before : at+b.length(i)]
}

// From is who sent the datagram i; an IPv4 address is one also on a socket for both
// families. The zone of a link-local address is its number.
func (b *Batch) From(i int) netip.AddrPort {
	if b.oneByOne {
		return b.one
	}
	return b.from(i)
}

// Whole reports whether the datagram i is not cut to what a batch has room for.
func (b *Batch) Whole(i int) bool {
	if b.oneByOne {
		return !b.cut
	}
	return b.whole(i)
}

func (b *Batch) length(i int) int {
	if b.oneByOne {
		return b.size
	}
	return b.received(i)
}

func (b *Batch) stride() int { return b.headroom + b.room }

func (b *Batch) receiveOne(c *net.UDPConn) error {
	n, from, err := c.ReadFromUDPAddrPort(b.buf[b.headroom : b.headroom+b.room])
	if err != nil {
		return err
	}
	b.n, b.size, b.cut, b.oneByOne = 1, n, n == b.room, true
	b.one = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	return nil
}

// Pool keeps batches of one shape. It may be used by any number of goroutines; those
// that wait for datagrams have none of it.
type Pool struct{ free sync.Pool }

// NewPool returns a pool of batches for so many datagrams of at most size bytes, with
// headroom bytes before each.
func NewPool(datagrams, size, headroom int) *Pool {
	p := &Pool{}
	p.free.New = func() any {
		b := &Batch{room: size + 1, headroom: headroom}
		b.buf = make([]byte, datagrams*b.stride())
		b.slots.open(b, datagrams)
		b.Out.open(datagrams)
		return b
	}
	return p
}

// Get returns a batch, empty.
func (p *Pool) Get() *Batch {
	b := p.free.Get().(*Batch)
	b.n, b.oneByOne = 0, false
	return b
}

// Put takes a batch back.
func (p *Pool) Put(b *Batch) { p.free.Put(b) }

// datagram is one to be sent.
type datagram struct {
	data []byte
	to   *Address
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
func (s *Sender) Add(data []byte, to *Address) { s.list = append(s.list, datagram{data, to}) }

// Flush sends what was added through a socket, and returns how many datagrams the kernel
// did not take: they are lost, as UDP's are.
func (s *Sender) Flush(through *Socket) (lost int) {
	if len(s.list) == 0 {
		return 0
	}
	if through.batched {
		lost = s.flush(through)
	} else {
		for _, d := range s.list {
			if _, err := through.conn.WriteToUDPAddrPort(d.data, d.to.AddrPort); err != nil && !errors.Is(err, net.ErrClosed) {
				lost++
			}
		}
	}
	clear(s.list)
	s.list = s.list[:0]
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
