package processes

import (
	"context"
	"net/netip"
	"os/exec"
	"time"

	"switchboard/relay/natlab"
)

// lab is what a call needs of the networks that it is placed in.
type lab interface {
	// Command is a program in the namespace of a host.
	Command(ctx context.Context, host, name string, args ...string) (*exec.Cmd, error)
	// Addrs are those of a host, without loopback and link-local ones.
	Addrs(host string) []netip.Addr

	// What happens to networks in a call.
	Reboot(ctx context.Context, router string) error
	Cut(ctx context.Context, network string, d time.Duration) error
	Move(ctx context.Context, host, network string) error
	Join(ctx context.Context, host, network string) error
	Leave(ctx context.Context, host, network string) error

	// Close ends what runs in the lab and removes it.
	Close() error
}

func buildLab(context.Context, natlab.Topology) (lab, error) { panic("not yet") }
