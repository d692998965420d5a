package datagram

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// polling is what a loop polls with: an epoll(7) of its own, which the runtime polls as
// one file. So the loop is woken once for all of its sockets, and waits as goroutines do.
type polling struct {
	file *os.File
	raw  syscall.RawConn
	fd   int

	mu   sync.Mutex // held by who changes the following
	free []uint32   // ids that are not in use
	all  atomic.Pointer[[]*chunk]

	// Owned by the goroutine that runs.
	events [64]unix.EpollEvent
	batch  *Batch
	failed error
	more   bool
	rested time.Time // when the last step ended
}

// chunk are some of the sockets, by id; it stays where it is, so that they are found
// without a lock.
type chunk [256]atomic.Pointer[Socket]

func (l *Loop) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or the runtime would not poll it
		unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	y := &l.system
	y.fd, y.file, y.batch = fd, os.NewFile(uintptr(fd), "epoll"), NewBatch(l.slots, l.size)
	y.all.Store(&[]*chunk{})
	if y.raw, err = y.file.SyscallConn(); err != nil {
		y.file.Close()
		return err
	}
	l.running.Go(func() { y.raw.Read(l.step) }) // until the file is closed
	return nil
}

func (l *Loop) close() error { return l.system.file.Close() }

func (l *Loop) add(s *Socket, handle func(*Batch), failed func(error)) error {
	s.system.handle, s.system.failed = handle, failed
	s.system.receive = func(fd uintptr) { l.system.more, l.system.failed = l.system.batch.fill(fd) }
	s.system.loop = l
	l.remember(s)
	var err error
	if closed := s.system.raw.Control(func(fd uintptr) {
		err = unix.EpollCtl(l.system.fd, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.system.id)})
	}); closed != nil {
		return closed
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// remember gives the socket an id.
func (l *Loop) remember(s *Socket) {
	y := &l.system
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.free) == 0 {
		all := *y.all.Load()
		next := append(all[:len(all):len(all)], new(chunk))
		for i := range next[len(all)] {
			y.free = append(y.free, uint32(len(all)*len(chunk{})+i))
		}
		y.all.Store(&next)
	}
	s.system.id = y.free[len(y.free)-1]
	y.free = y.free[:len(y.free)-1]
	l.slot(s.system.id).Store(s)
}

// forget frees the id of a socket. An event for it that comes still is one for whoever has
// it next, who finds that nothing is there.
func (l *Loop) forget(s *Socket) {
	y := &l.system
	y.mu.Lock()
	defer y.mu.Unlock()
	if slot := l.slot(s.system.id); slot.CompareAndSwap(s, nil) {
		y.free = append(y.free, s.system.id)
	}
}

func (l *Loop) slot(id uint32) *atomic.Pointer[Socket] {
	all := *l.system.all.Load()
	return &all[int(id)/len(chunk{})][int(id)%len(chunk{})]
}

// step handles what has come until nothing is left, and returns false then, to be called
// when there is more.
func (l *Loop) step(uintptr) (done bool) {
	y := &l.system
	begin := time.Now()
	handled := 0
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(y.fd), uintptr(unsafe.Pointer(&y.events[0])), uintptr(len(y.events)), 0, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 || n == 0 {
			break
		}
		left := int(n) == len(y.events)
		for i := range int(n) {
			if s := l.slot(uint32(y.events[i].Fd)).Load(); s != nil {
				some, more := l.drain(s)
				handled, left = handled+some, left || more
			}
		}
		if !left && handled >= enough {
			break
		}
	}
	l.rest(begin, handled)
	return false
}

// enough is how many datagrams make it not worthwhile to wait for more.
const enough = 16

// rest lets datagrams gather when they come so fast that these came right after the last
// ones. Other threads have the processor meanwhile.
func (l *Loop) rest(begin time.Time, handled int) {
	y := &l.system
	left := l.gather - time.Since(begin)
	if begin.Sub(y.rested) < l.gather && handled < enough && left > 0 {
		t := unix.NsecToTimespec(int64(left))
		unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
	}
	y.rested = time.Now()
}

// inARow is how many batches of one socket are handled before those of others.
const inARow = 4

// drain handles what a socket has received, and reports whether there may be more. Nobody
// wakes the loop for what is left.
func (l *Loop) drain(s *Socket) (handled int, more bool) {
	y := &l.system
	for range inARow {
		if closed := s.system.raw.Control(s.system.receive); closed != nil {
			return handled, false
		}
		switch y.failed {
		case nil:
			handled += y.batch.Len()
			s.system.handle(y.batch)
		case unix.EAGAIN:
		case unix.EINTR:
			y.more = true
		default:
			s.system.failed(y.failed)
		}
		if !y.more {
			return handled, false
		}
	}
	return handled, true
}
