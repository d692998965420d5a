package main

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// soak has a thread take all that others leave of a core, and counts its turns: what it
// could not have was taken by somebody, whether the kernel counts that for anybody or not.
// So it sees interrupts, and switches from one to the next.
type soak struct {
	turns atomic.Int64
	end   atomic.Bool
	ended chan error
}

func newSoak(core int) *soak {
	s := &soak{ended: make(chan error, 1)}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		s.ended <- s.run(core)
	}()
	return s
}

func (s *soak) run(core int) error {
	if err := pin(0, core); err != nil {
		return err
	}
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0); err != nil {
		return fmt.Errorf("soak: %w", err)
	}
	for x := uint64(1); !s.end.Load(); s.turns.Add(1) {
		for range 256 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		if x == 0 { // never, but the compiler does not know
			return nil
		}
	}
	return nil
}

// close ends the thread.
func (s *soak) close() error {
	s.end.Store(true)
	return <-s.ended
}
