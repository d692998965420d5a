package main

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// space is a network namespace without a name: the kernel removes it, and all that
// is in it, when the last process and file that hold it are gone, however they went.
// A thread of its own is in it, and whatever that starts.
type space struct {
	fd    *os.File
	calls chan func()
	ended chan struct{}
}

// newSpace makes a namespace whose thread, and the processes that it starts, run on
// one core, with one priority.
func newSpace(core, nice int) (*space, error) {
	s := &space{calls: make(chan func()), ended: make(chan struct{})}
	made := make(chan error)
	go func() {
		defer close(s.ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := s.enter(core, nice)
		made <- err
		if err != nil {
			return
		}
		for call := range s.calls {
			call()
		}
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	return s, nil
}

// enter takes the calling thread into a new namespace, with a /sys that shows it.
func (s *space) enter(core, nice int) error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	var err error
	if s.fd, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, nice); err != nil {
		return fmt.Errorf("priority: %w", err)
	}
	return pin(0, core)
}

// do has the namespace's thread call f, and waits for it.
func (s *space) do(f func() error) error {
	done := make(chan error)
	s.calls <- func() { done <- f() }
	return <-done
}

// path names the namespace to programs.
func (s *space) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.fd.Fd()) }

// close ends the thread, and with it the processes that it has started.
func (s *space) close() {
	close(s.calls)
	<-s.ended
	s.fd.Close()
}
