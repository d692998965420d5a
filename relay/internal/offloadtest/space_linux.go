package offloadtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NeedRoot skips a test where no namespaces can be made, but fails it in CI.
func NeedRoot(t testing.TB) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("makes network namespaces: needs root")
	default:
		t.Skip("makes network namespaces: needs root")
	}
}

// Space is a network namespace without a name. A thread of its own is in it, and whatever
// that starts. Its methods may be called from any goroutine until the test ends.
type Space struct {
	// Static after newSpace.
	fd    *os.File
	calls chan func()
	ended chan struct{}
	links *netlink.Handle // of the namespace; its methods may be called from any thread
}

func newSpace() (*Space, error) {
	s := &Space{calls: make(chan func()), ended: make(chan struct{})}
	made := make(chan error)
	onThread(func() { // which is never unlocked: the thread ends with the goroutine
		defer close(s.ended)
		err := s.enter()
		made <- err
		if err != nil {
			return
		}
		for call := range s.calls {
			call()
		}
	})
	if err := <-made; err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	return s, nil
}

// onThread has a goroutine that is locked to its thread call f. The thread is not the first of
// the process: that one never ends.
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

// enter takes the calling thread into a new namespace, in which addresses work at once and
// nothing is sent that nobody asked for.
func (s *Space) enter() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if s.fd, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if s.links, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	for file, value := range map[string]string{
		"ipv6/conf/all/accept_dad":               "0",
		"ipv6/conf/default/accept_dad":           "0",
		"ipv6/conf/default/accept_ra":            "0",
		"ipv6/conf/default/autoconf":             "0",
		"ipv6/conf/default/router_solicitations": "0",
		"ipv4/conf/all/rp_filter":                "0",
		"ipv4/conf/default/rp_filter":            "0",
		"ipv4/ip_forward":                        "0",
	} {
		err := os.WriteFile("/proc/sys/net/"+file, []byte(value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	lo, err := s.links.LinkByName("lo")
	if err != nil {
		return err
	}
	return s.links.LinkSetUp(lo)
}

// Do has the namespace's thread call f, and returns what it does. It is one call at a time:
// f must not wait for anything but the kernel.
func (s *Space) Do(f func() error) error {
	done := make(chan error)
	s.calls <- func() { done <- f() }
	return <-done
}

// Start starts a process in the namespace, which is killed when the test's process ends, or
// the namespace is taken away.
func (s *Space) Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return s.Do(cmd.Start)
}

// ListenUDP opens a socket in the namespace, which set may set before it is bound; the test's
// end closes it. Its buffers are as large as root may have them.
func (s *Space) ListenUDP(t testing.TB, at netip.AddrPort, set ...func(fd int) error) *net.UDPConn {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return control(c, func(fd int) error {
			errs := []error{
				unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
				unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8<<20),
			}
			for _, f := range set {
				errs = append(errs, f(fd))
			}
			return errors.Join(errs...)
		})
	}}
	var conn net.PacketConn
	err := s.Do(func() (err error) {
		conn, err = config.ListenPacket(context.Background(), "udp", at.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UDPConn)
}

// control calls f with a socket's descriptor.
func control(c syscall.RawConn, f func(fd int) error) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) { err = f(int(fd)) }), err)
}

// close ends the thread, and with it the processes that it has started.
func (s *Space) close() {
	close(s.calls)
	<-s.ended
	s.links.Close()
	s.fd.Close()
}
