package offloadtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"switchboard/relay/internal/netns"
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
	*netns.Thread
	links *netlink.Handle // of the namespace; its methods may be called from any thread
}

func newSpace() (*Space, error) {
	s := new(Space)
	var err error
	if s.Thread, err = netns.New(0, s.enter); err != nil {
		if s.links != nil {
			s.links.Close()
		}
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	return s, nil
}

// enter has addresses work at once in the calling thread's namespace, and nothing be sent that
// nobody asked for.
func (s *Space) enter() (err error) {
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
		if err := netns.Sysctl(file, value); err != nil {
			return err
		}
	}
	lo, err := s.links.LinkByName("lo")
	if err != nil {
		return err
	}
	return s.links.LinkSetUp(lo)
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
	s.Close()
	s.links.Close()
}
