package main

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// generator puts frames on the cable.
type generator struct {
	fd   int
	nice int
	core int
}

func newGenerator(p *plug, core, nice int) (*generator, error) {
	g := &generator{core: core, nice: nice}
	err := p.space.do(func() (err error) {
		g.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(g.fd, &unix.SockaddrLinklayer{Ifindex: p.index}); err != nil {
		g.close()
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.SetsockoptInt(g.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		g.close()
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	// What the relay's end has not taken yet counts for this buffer, and must never keep
	// the generator waiting.
	if err := unix.SetsockoptInt(g.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 16<<20); err != nil {
		g.close()
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	return g, nil
}

func (g *generator) close() { unix.Close(g.fd) }

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	n      uint32
	_      [4]byte
}

// atOnce is how many frames one system call sends at most.
const atOnce = 64

// load is what is sent in turn, ready for sendmmsg: burst frames of the first flow, as
// many of the second, and so on, then from the first again.
type load struct {
	frames   [][]byte
	iovecs   []unix.Iovec
	messages []message // the round, and again its beginning, so that a call may begin anywhere
	round    int
	next     int
	burst    int
}

func newLoad(frames [][]byte, burst int) *load {
	l := &load{frames: frames, iovecs: make([]unix.Iovec, len(frames)), round: len(frames) * burst, burst: burst}
	for i, f := range frames {
		l.iovecs[i].Base = &f[0]
		l.iovecs[i].SetLen(len(f))
	}
	l.messages = make([]message, l.round+atOnce)
	for i := range l.messages {
		h := &l.messages[i].header
		h.Iov = &l.iovecs[i%l.round/burst]
		h.SetIovlen(1)
	}
	return l
}

// send sends up to n frames, and returns how many.
func (g *generator) send(l *load, n int) (int, error) {
	n = min(n, atOnce)
	r, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(g.fd), uintptr(unsafe.Pointer(&l.messages[l.next])), uintptr(n), 0, 0, 0)
	switch errno {
	case 0:
		l.next = (l.next + int(r)) % l.round
		return int(r), nil
	case unix.EINTR, unix.EAGAIN, unix.ENOBUFS:
		return 0, nil
	}
	return 0, fmt.Errorf("sendmmsg: %w", errno)
}

// late is how far behind its time the generator sends what it should have sent: what is
// older is not sent at all, since no relay should pay for a generator that was held up.
const late = 2 * time.Millisecond

// run sends at a rate, in frames a second, for a while, a burst at a time, and returns
// how many frames it sent.
func (g *generator) run(l *load, rate float64, d time.Duration) (sent int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := pin(0, g.core); err != nil {
		return 0, err
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, g.nice); err != nil {
		return 0, fmt.Errorf("priority: %w", err)
	}
	defer unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
	behind := max(int(rate*late.Seconds()), l.burst)
	start := time.Now()
	for skipped := 0; ; {
		elapsed := time.Since(start)
		if elapsed >= d {
			return sent, nil
		}
		due := int(rate*elapsed.Seconds())/l.burst*l.burst - sent - skipped
		if due > behind {
			skip := (due - behind) / l.burst * l.burst
			skipped, due = skipped+skip, due-skip
		}
		if due <= 0 {
			continue
		}
		n, err := g.send(l, due)
		if err != nil {
			return sent, err
		}
		sent += n
	}
}
