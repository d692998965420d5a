package datagram

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const canBatch = true

// system is what a socket has of this system. The runtime does not poll it.
type system struct {
	file      *os.File
	raw       syscall.RawConn
	segmented atomic.Bool // the kernel cuts buffers; unset for good when it turns out that it does not

	// Of its loop.
	loop    *Loop
	id      uint32
	handle  func(*Batch)
	failed  func(error)
	receive func(fd uintptr)
}

// open takes the socket of a connection, asks the kernel whether it cuts buffers (since
// 4.18), and to join what it can (since 5.0).
func (s *Socket) open(c *net.UDPConn) (err error) {
	if s.system.file, err = c.File(); err != nil {
		return err
	}
	if s.system.raw, err = s.system.file.SyscallConn(); err != nil {
		return err
	}
	err = s.system.raw.Control(func(fd uintptr) {
		_, err := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT)
		s.system.segmented.Store(err == nil)
	})
	if err == nil {
		s.Join(true)
	}
	return err
}

// join has the kernel join datagrams, or not.
func (s *Socket) join(on int) {
	if coalesces() {
		s.system.raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, on) // it did for another socket
		})
	}
}

func (s *Socket) send(b []byte, to netip.AddrPort) (err error) {
	var a unix.Sockaddr
	if s.six {
		six := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
		if scope, err := strconv.ParseUint(to.Addr().Zone(), 10, 32); err == nil {
			six.ZoneId = uint32(scope)
		}
		a = six
	} else {
		a = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()}
	}
	if closed := s.system.raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT, a) }); closed != nil {
		return net.ErrClosed
	}
	return err
}

func (s *Socket) close() error {
	if s.system.loop != nil {
		s.system.loop.forget(s)
	}
	return s.system.file.Close()
}

// maxCoalesced is above what the kernel joins, in bytes.
const maxCoalesced = 64 << 10

// coalesces reports whether the kernel joins datagrams.
var coalesces = sync.OnceValue(func() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) == nil
})

func (s *Socket) segments() bool { return s.system.segmented.Load() }

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

// rawAddress is a struct sockaddr_in or sockaddr_in6.
type rawAddress struct {
	bytes unix.RawSockaddrInet6 // the longer one
	size  uint32
}

func (r *rawAddress) set(a netip.AddrPort, six bool) {
	port := binary.BigEndian.AppendUint16(nil, a.Port())
	if !six {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&r.bytes))
		in.Family, in.Addr = unix.AF_INET, a.Addr().As4()
		copy((*[2]byte)(unsafe.Pointer(&in.Port))[:], port)
		r.size = unix.SizeofSockaddrInet4
		return
	}
	r.bytes.Family, r.bytes.Addr = unix.AF_INET6, a.Addr().As16()
	copy((*[2]byte)(unsafe.Pointer(&r.bytes.Port))[:], port)
	if scope, err := strconv.ParseUint(a.Addr().Zone(), 10, 32); err == nil {
		r.bytes.Scope_id = uint32(scope)
	}
	r.size = unix.SizeofSockaddrInet6
}

func (r *rawAddress) get() netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&r.bytes.Port))[:]) // at one place in both
	if r.bytes.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&r.bytes)).Addr), port)
	}
	addr := netip.AddrFrom16(r.bytes.Addr).Unmap()
	if r.bytes.Scope_id != 0 {
		addr = addr.WithZone(strconv.FormatUint(uint64(r.bytes.Scope_id), 10))
	}
	return netip.AddrPortFrom(addr, port)
}

// slots are what recvmmsg fills.
type slots struct {
	headers  []mmsghdr
	vectors  []unix.Iovec
	froms    []rawAddress
	controls []received
}

// received is room for the control message that says how long segments are.
type received struct {
	header unix.Cmsghdr
	size   int32
	_      [4]byte
}

func (s *slots) open(b *Batch, n int) {
	s.headers, s.vectors, s.froms, s.controls = make([]mmsghdr, n), make([]unix.Iovec, n), make([]rawAddress, n), make([]received, n)
	for i := range s.headers {
		s.vectors[i].Base = &b.buf[i*b.room]
		s.vectors[i].SetLen(b.room)
		h := &s.headers[i].header
		h.Name = (*byte)(unsafe.Pointer(&s.froms[i].bytes))
		h.Iov = &s.vectors[i]
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&s.controls[i]))
	}
}

func (s *slots) from(i int) netip.AddrPort { return s.froms[i].get() }

// segment is how long the datagrams are that the kernel has joined, or 0.
func (s *slots) segment(i int) int {
	c := &s.controls[i]
	if s.headers[i].header.Controllen == 0 || c.header.Level != unix.SOL_UDP || c.header.Type != unix.UDP_GRO {
		return 0
	}
	return int(c.size)
}

// fill receives what is there, and fails with EAGAIN if that is nothing. It reports
// whether there may be more.
func (b *Batch) fill(fd uintptr) (more bool, err error) {
	b.pieces = b.pieces[:0]
	for i := range b.slots.headers {
		h := &b.slots.headers[i].header
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(int(unsafe.Sizeof(received{})))
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.slots.headers[0])), uintptr(len(b.slots.headers)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return false, errno
	}
	for i := range int(n) {
		b.split(i)
	}
	return int(n) == len(b.slots.headers), nil
}

// split finds the datagrams in a slot.
func (b *Batch) split(slot int) {
	at, left := slot*b.room, int(b.slots.headers[slot].length)
	cut := b.slots.headers[slot].header.Flags&unix.MSG_TRUNC != 0
	each := b.slots.segment(slot)
	if each <= 0 || each >= left {
		b.pieces = append(b.pieces, piece{at: at, size: left, slot: slot, whole: !cut && left <= b.size})
		return
	}
	for ; left > 0 && len(b.pieces) < cap(b.pieces); left -= each {
		n := min(each, left)
		b.pieces = append(b.pieces, piece{at: at, size: n, slot: slot, whole: n <= b.size && !(cut && n == left)})
		at += n
	}
}

// Bounds of a buffer that the kernel cuts: udp(7), UDP_SEGMENT.
const (
	maxSegments  = 64
	maxSegmented = 65000 // bytes; all of it must fit an IP packet
)

// control is the control message that says how long segments are.
type control struct {
	header unix.Cmsghdr
	size   uint16
	_      [6]byte
}

// sending is what sendmmsg is given.
type sending struct {
	headers  []mmsghdr
	vectors  []unix.Iovec
	controls []control
	first    []int // of the datagrams of a header

	all func(fd uintptr)

	// Of one flush.
	through *Socket
	count   int // headers
	lost    int
}

func (s *sending) open(n int) {
	s.headers, s.vectors, s.controls = make([]mmsghdr, n), make([]unix.Iovec, 2*n), make([]control, n)
	s.first = make([]int, n+1)
	for i := range s.controls {
		c := &s.controls[i]
		c.header.Level, c.header.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.header.SetLen(unix.CmsgLen(2))
	}
}

// flush sends the list through a socket of which it is not known whether it is still
// open; if it is not, all is lost.
func (s *Sender) flush(through *Socket) int {
	if s.system.all == nil {
		s.system.all = s.sendAll
	}
	s.system.through, s.system.lost = through, 0
	if through.system.raw.Control(s.system.all) != nil { // fails only when the socket is closed
		return len(s.list)
	}
	return s.system.lost
}

func (s *Sender) sendAll(fd uintptr) {
	s.prepare(0, s.system.through.segments())
	for at := 0; at < s.system.count; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.system.headers[at])), uintptr(s.system.count-at), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno == 0:
			at += int(n)
		case s.system.headers[at].header.Control != nil && errno != unix.EAGAIN && errno != unix.ENOBUFS:
			if errno == unix.EIO || errno == unix.EINVAL {
				s.system.through.system.segmented.Store(false)
			}
			s.prepare(s.system.first[at], false)
			at = 0
		case errno == unix.EAGAIN:
			s.system.lost += len(s.list) - s.system.first[at]
			return
		default:
			s.system.lost += s.system.first[at+1] - s.system.first[at]
			at++
		}
	}
}

// prepare makes headers of the list from a datagram on: one of each run of datagrams that
// go to one address and are of one size, but the last, which may be shorter.
func (s *Sender) prepare(from int, segmented bool) {
	y := &s.system
	y.count = 0
	for i := from; i < len(s.list); {
		n := 1
		if segmented {
			n = s.run(i)
		}
		s.header(y.count, i, n)
		y.count++
		i += n
	}
	y.first[y.count] = len(s.list)
}

func (s *Sender) run(i int) (n int) {
	size, to := s.list[i].size(), s.list[i].to
	total := size
	for n = 1; i+n < len(s.list) && n < maxSegments; n++ {
		next := s.list[i+n].size()
		total += next
		if s.list[i+n].to != to || next > size || next == 0 || total > maxSegmented {
			return n
		}
		if next < size {
			return n + 1
		}
	}
	return n
}

func (s *Sender) header(at, i, n int) {
	y := &s.system
	first, used := 2*i, 0
	vector := func(b []byte) {
		v := &y.vectors[first+used]
		v.Base = unsafe.SliceData(b)
		v.SetLen(len(b))
		used++
	}
	for j := i; j < i+n; j++ {
		if d := &s.list[j]; d.framed {
			vector(d.header[:])
		}
		vector(s.list[j].data)
	}
	to := s.list[i].to
	h := &y.headers[at].header
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(&to.raw.bytes)), to.raw.size
	h.Iov = &y.vectors[first]
	h.SetIovlen(used)
	h.Control = nil
	h.SetControllen(0)
	if n > 1 {
		c := &y.controls[at]
		c.size = uint16(s.list[i].size())
		h.Control = (*byte)(unsafe.Pointer(c))
		h.SetControllen(unix.CmsgSpace(2))
	}
	y.first[at] = i
}
