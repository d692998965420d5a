package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Thread is a thread in a new network namespace. The kernel removes the namespace, and all
// that is in it, when the thread has ended and the last process, socket and name that hold it
// are gone, however they went. Its methods may be called from any goroutine, until Close.
type Thread struct {
	// Static after New.
	fd    *os.File // the namespace
	calls chan func()
	ended chan struct{}
}

// New makes a namespace, and with it more of the kinds that flags say (CLONE_NEWNS). Its
// thread calls enter before anything else; where that fails nothing is left.
func New(flags int, enter func() error) (*Thread, error) {
	t := &Thread{calls: make(chan func()), ended: make(chan struct{})}
	made := make(chan error)
	onThread(func() { // which is never unlocked: the thread ends with the goroutine
		defer close(t.ended)
		err := t.enter(flags, enter)
		made <- err
		if err != nil {
			return
		}
		for call := range t.calls {
			call()
		}
	})
	if err := <-made; err != nil {
		<-t.ended
		if t.fd != nil {
			t.fd.Close()
		}
		return nil, err
	}
	return t, nil
}

func (t *Thread) enter(flags int, enter func() error) (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET | flags); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if t.fd, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	return enter()
}

// onThread has a goroutine that is locked to its thread call f. The thread is not the first of
// the process: that one never ends, and what it is in is what /proc says of the process.
func onThread(f func()) {
	locked := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onThread(f) // on another thread, as long as this one is taken
			runtime.UnlockOSThread()
			close(locked)
			return
		}
		close(locked)
		f()
	}()
	<-locked
}

// FD is the namespace's descriptor, which is open until Close.
func (t *Thread) FD() int { return int(t.fd.Fd()) }

// Do has the thread call f, and returns what it does. It is one call at a time: f must not
// wait for anything but the kernel. A process that f starts gets its signal (PR_SET_PDEATHSIG)
// when the thread ends.
func (t *Thread) Do(f func() error) error {
	done := make(chan error)
	t.calls <- func() { done <- f() }
	return <-done
}

// Visit has some thread call f in the namespace, which may take as long as it likes. The
// thread comes back after it: were it to end, a process that somebody had started on it before
// would take that for the end of its parent.
func (t *Thread) Visit(f func() error) error {
	done := make(chan error)
	onThread(func() { done <- t.enterAndLeave(f) })
	return <-done
}

// enterAndLeave unlocks the thread, unless that could not leave.
func (t *Thread) enterAndLeave(f func() error) error {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Setns(t.FD(), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave a network namespace: %w", back)) // and the thread ends
	}
	runtime.UnlockOSThread()
	return err
}

// Close ends the thread, and with it the processes that it has started. Nobody may call Do or
// Visit any more.
func (t *Thread) Close() {
	close(t.calls)
	<-t.ended
	t.fd.Close()
}

// Sysctl sets a value under net in the calling thread's namespace. One that this kernel does
// not have is passed over.
func Sysctl(file, value string) error {
	err := os.WriteFile("/proc/sys/net/"+file, []byte(value), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
