// Package datagram receives and sends UDP datagrams, many with one system call where
// the kernel can.
//
// On Linux one goroutine, a [Loop], receives for many sockets. It fills a [Batch] by
// recvmmsg, and a [Sender] sends with sendmmsg. What comes from one address at once and is
// of one size, the kernel joins (UDP_GRO), and what goes to one, it cuts (UDP_SEGMENT):
// either costs it little more than one datagram. When packets come so fast that each would
// wake the loop, it lets them gather for a moment. Elsewhere, and where [OneByOne] is
// asked for, each socket has a goroutine and each datagram takes a call. Nothing here
// allocates memory for a datagram that is handled, and nothing waits for a lock.
//
// One by one a socket can also be something that behaves like UDP, as on a network in
// memory.
package datagram

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
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

// Socket is a UDP socket, for which a [Loop] receives. Any number of goroutines may send.
type Socket struct {
	// Static after New.
	local   *net.UDPAddr
	six     bool   // its addresses are those of IPv6, IPv4 mapped to them
	conn    single // nil if it is batched
	batched bool

	closed atomic.Bool // unless it is batched
	system system
}

// New returns a socket that takes over a connection, which is one of UDP or behaves like
// it. Only a [net.UDPConn] can be batched.
func New(c net.PacketConn, how How) (*Socket, error) {
	local, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T has no address of UDP", c), c.Close())
	}
	s := &Socket{local: local, six: !local.AddrPort().Addr().Is4()}
	udp, ok := c.(*net.UDPConn)
	if s.batched = ok && how == Auto && canBatch; !s.batched {
		s.conn = singleOf(c)
		return s, nil
	}
	if err := s.open(udp); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return s, c.Close()
}

// LocalAddr is where the socket is.
func (s *Socket) LocalAddr() *net.UDPAddr { return s.local }

// SyscallConn implements [syscall.Conn]. It fails where no system has the socket.
func (s *Socket) SyscallConn() (syscall.RawConn, error) {
	if s.batched {
		return s.system.file.SyscallConn()
	}
	if c, ok := s.conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// Describe says how the socket does it, and why.
func (s *Socket) Describe() string {
	switch {
	case !s.batched && !isSystems(s.conn):
		return "one by one, on a network that is not this machine's"
	case !canBatch:
		return "one by one, as this system has no other way"
	case !s.batched:
		return "one by one, as was asked for"
	case s.segments():
		return "in batches, that the kernel segments"
	}
	return "in batches, that this kernel does not segment"
}

// Send sends one datagram. It does not wait: what the kernel does not take now is an error.
func (s *Socket) Send(b []byte, to netip.AddrPort) error {
	if s.batched {
		return s.send(b, to)
	}
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}

// Join says whether the kernel may join what comes from one address at once, as it does
// unless it is told otherwise. What is joined has passed by whoever looks at packets one by
// one before they reach sockets. It may be called from any goroutine.
func (s *Socket) Join(on bool) {
	if !s.batched {
		return // it never does
	}
	if on {
		s.join(1)
	} else {
		s.join(0)
	}
}

// Close closes the socket. Nothing of it is handled once what is being handled is done.
func (s *Socket) Close() error {
	if s.batched {
		return s.close()
	}
	s.closed.Store(true)
	return s.conn.Close()
}

// Batch is room for datagrams that are received together. It belongs to one goroutine.
type Batch struct {
	// Out sends for whoever has the batch; what it was given is sent before the batch is
	// used again.
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

func (b *Batch) receiveOne(c single) error {
	n, from, err := c.ReadFromUDPAddrPort(b.buf[:b.size+1])
	if err != nil {
		return err
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	b.pieces = append(b.pieces[:0], piece{size: n, slot: -1, from: from, whole: n <= b.size})
	return nil
}

// NewBatch returns a batch that takes what so many senders send at once, in datagrams of
// at most size bytes.
func NewBatch(slots, size int) *Batch {
	b := &Batch{size: size, room: size + 1}
	most := slots
	if slots > 1 && coalesces() {
		b.room, most = maxCoalesced, slots*maxSegments
	}
	b.buf = make([]byte, slots*b.room)
	b.pieces = make([]piece, 0, most)
	b.slots.open(b, slots)
	b.Out.open(most)
	return b
}

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
	framed []byte // room for one that is sent alone
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

func (s *Sender) sendEach(c single) (lost int) {
	for i := range s.list {
		d := &s.list[i]
		data := d.data
		if d.framed {
			s.framed = append(append(s.framed[:0], d.header[:]...), d.data...)
			data = s.framed
		}
		if _, err := c.WriteToUDPAddrPort(data, d.to.AddrPort); err != nil {
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
