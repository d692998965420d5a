package datagram

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const canBatch = true

// system is what a socket has of this system.
type system struct {
	segmented atomic.Bool // the kernel cuts buffers; unset for good when it turns out that it does not
	step      func(fd uintptr) bool
}

// open asks the kernel whether it cuts buffers (since 4.18).
func (s *Socket) open() {
	s.system.step = s.receiveStep
	s.raw.Control(func(fd uintptr) {
		_, err := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT)
		s.system.segmented.Store(s.batched && err == nil)
	})
}

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
	headers []mmsghdr
	vectors []unix.Iovec
	froms   []rawAddress
}

func (s *slots) open(b *Batch, n int) {
	s.headers, s.vectors, s.froms = make([]mmsghdr, n), make([]unix.Iovec, n), make([]rawAddress, n)
	for i := range s.headers {
		s.vectors[i].Base = &b.buf[i*b.stride()+b.headroom]
		s.vectors[i].SetLen(b.room)
		h := &s.headers[i].header
		h.Name = (*byte)(unsafe.Pointer(&s.froms[i].bytes))
		h.Iov = &s.vectors[i]
		h.SetIovlen(1)
	}
}

func (b *Batch) from(i int) netip.AddrPort { return b.slots.froms[i].get() }
func (b *Batch) received(i int) int        { return int(b.slots.headers[i].length) }
func (b *Batch) whole(i int) bool {
	return b.slots.headers[i].header.Flags&unix.MSG_TRUNC == 0 && b.received(i) < b.room
}

// fill receives what is there, and fails with EAGAIN if that is nothing.
func (b *Batch) fill(fd uintptr) error {
	for i := range b.slots.headers {
		b.slots.headers[i].header.Namelen = unix.SizeofSockaddrInet6
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.slots.headers[0])), uintptr(len(b.slots.headers)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return errno
	}
	b.n = int(n)
	return nil
}

func (s *Socket) receive() error {
	s.failure = nil
	if err := s.raw.Read(s.system.step); err != nil {
		return err
	}
	return s.failure
}

// receiveStep receives and handles until there is nothing more, and returns false then,
// to be called when there is. A batch that is not full has emptied the socket: what has
// come since wakes this goroutine, so that it need not look again.
func (s *Socket) receiveStep(fd uintptr) (done bool) {
	for {
		b := s.pool.Get()
		err := b.fill(fd)
		switch {
		case err == unix.EAGAIN:
			s.pool.Put(b)
			return false
		case err == unix.EINTR:
			s.pool.Put(b)
			continue
		case err != nil:
			s.pool.Put(b)
			s.failure = err
			return true
		}
		if s.handle(b) {
			return true
		}
		full := b.n == len(b.slots.headers)
		s.pool.Put(b)
		if !full {
			return false
		}
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
	s.headers, s.vectors, s.controls = make([]mmsghdr, n), make([]unix.Iovec, n), make([]control, n)
	s.first = make([]int, n+1)
	for i := range s.controls {
		c := &s.controls[i]
		c.header.Level, c.header.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.header.SetLen(unix.CmsgLen(2))
	}
}

// flush sends the list through a socket of which it is not known whether it is still
// open; if it is not, all is lost, as on the way.
func (s *Sender) flush(through *Socket) int {
	if s.system.all == nil {
		s.system.all = s.sendAll
	}
	s.system.through, s.system.lost = through, 0
	through.raw.Control(s.system.all) // fails only when the socket is closed
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
	size, total := len(s.list[i].data), len(s.list[i].data)
	for n = 1; i+n < len(s.list) && n < maxSegments; n++ {
		next := s.list[i+n]
		total += len(next.data)
		if next.to != s.list[i].to || len(next.data) > size || len(next.data) == 0 || total > maxSegmented {
			return n
		}
		if len(next.data) < size {
			return n + 1
		}
	}
	return n
}

func (s *Sender) header(at, i, n int) {
	y := &s.system
	for j := i; j < i+n; j++ {
		y.vectors[j].Base = unsafe.SliceData(s.list[j].data)
		y.vectors[j].SetLen(len(s.list[j].data))
	}
	to := s.list[i].to
	h := &y.headers[at].header
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(&to.raw.bytes)), to.raw.size
	h.Iov = &y.vectors[i]
	h.SetIovlen(n)
	h.Control = nil
	h.SetControllen(0)
	if n > 1 {
		c := &y.controls[at]
		c.size = uint16(len(s.list[i].data))
		h.Control = (*byte)(unsafe.Pointer(c))
		h.SetControllen(unix.CmsgSpace(2))
	}
	y.first[at] = i
}
