//go:build !linux

package kernel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"runtime"

	"switchboard/relay/natlab"
)

var errLinux = errors.New("natlab: the kernel engine is for Linux")

// Lab is not to be had on this system.
type Lab struct{}

// Cmd is not to be had on this system.
type Cmd struct{ *exec.Cmd }

// Build returns an error: this system has no network namespaces.
func Build(context.Context, natlab.Topology, Options) (*Lab, error) { return nil, errLinux }

// Clean has nothing to do on this system.
func Clean() (Cleaned, error) { return Cleaned{}, nil }

// Doctor says what is missing: Linux.
func Doctor() []Finding {
	return []Finding{{What: "Linux", Needed: true, Found: runtime.GOOS, Get: "run it on Linux, in a virtual machine for instance"}}
}

// The methods of Lab are those for Linux, and never called.

func (*Lab) ID() string                                                    { return "" }
func (*Lab) Namespace(string) string                                       { return "" }
func (*Lab) Describe(string) Choice                                        { return Choice{} }
func (*Lab) DescribeLink(string) Choice                                    { return Choice{} }
func (*Lab) External(string) []netip.Addr                                  { return nil }
func (*Lab) Dropped(string) map[string]uint64                              { return nil }
func (*Lab) Addrs(string) []netip.Addr                                     { return nil }
func (*Lab) Lookup(string, string) ([]netip.Addr, error)                   { return nil, errLinux }
func (*Lab) Close() error                                                  { return nil }
func (*Lab) Reboot(context.Context, string) error                          { return errLinux }
func (*Lab) Cut(context.Context, string, bool) error                       { return errLinux }
func (*Lab) Move(context.Context, string, string) error                    { return errLinux }
func (*Lab) Join(context.Context, string, string) error                    { return errLinux }
func (*Lab) Leave(context.Context, string, string) error                   { return errLinux }
func (*Lab) Command(context.Context, string, string, ...string) *Cmd       { return &Cmd{} }
func (*Lab) Capture(context.Context, string, string) (func() error, error) { return nil, errLinux }
func (*Lab) Probe(context.Context, string, bool) (Probed, error)           { return Probed{}, errLinux }
func (*Lab) Verify(context.Context, string, bool) (Probed, error)          { return Probed{}, errLinux }
func (*Lab) DialContext(context.Context, string, string, string) (net.Conn, error) {
	return nil, errLinux
}
func (*Lab) ListenPacket(context.Context, string, string, string) (net.PacketConn, error) {
	return nil, errLinux
}
func (*Lab) Listen(context.Context, string, string, string) (net.Listener, error) {
	return nil, errLinux
}
