// Package offload relays the packets of channels over UDP in the kernel: what clients send
// in ChannelData becomes UDP from their relayed address to the peer, and comes back in it
// (RFC 8656 section 12), between the network interface and the sockets. No system call and
// no copy to user space is made for them.
//
// A [Path] is a program of eBPF, attached where packets come in from Ethernet interfaces,
// and the flows that it knows. Whoever has one installs flows, and puts off their end time
// and again: a flow whose time is over is left to the sockets, as all is that the program
// does not know or is not sure of. So nothing is relayed for somebody who has gone, even if
// nobody is left to remove it; and the program itself goes with the process, but where the
// kernel has no TCX (before 6.6): there it stays, and does nothing any more.
//
// It takes CAP_BPF and CAP_NET_ADMIN. For who has CAP_PERFMON, too, the kernel leaves out
// barriers to speculation, and the program takes a third of the time: 0.1 us for a packet,
// not 0.3 (BenchmarkProgram).
//
// Times are of the clock that a Path is given, in ns, and payload is counted in bytes.
//
// What it takes to do each thing, whatever kernel.unprivileged_bpf_disabled is (0, 1 or 2), and
// however little memory may be locked. Nothing takes CAP_PERFMON, CAP_SYS_ADMIN or root:
//
//	                                Linux 6.1                  6.12, 6.18, 7.2
//	open: load the program, try it  CAP_BPF and CAP_NET_ADMIN  the same
//	attach                          CAP_NET_ADMIN (clsact)     nothing (TCX); CAP_NET_ADMIN (clsact)
//	install, renew, remove flows    nothing                    nothing
//	read counters, reconcile        nothing                    nothing
//	look routes up                  nothing                    nothing
//
// Kernels before 5.12 lack the atomic operations that the program uses.
//
// The program is relay.bpf.c. What it was compiled to is committed; make bpf compiles it
// again, and finds the same. make bpf-kernels tries all this on the kernels of Debian.
package offload

import (
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
)

// ErrUnsupported says that this system has nothing of the kind.
var ErrUnsupported = errors.New("offload: only Linux relays in the kernel")

// Why a flow is not installed. It can be relayed by the sockets all the same.
var (
	ErrFull      = errors.New("offload: there are as many flows as there may be")
	ErrFamily    = errors.New("offload: client and relayed address are of two families")
	ErrLocal     = errors.New("offload: one end is this machine")
	ErrRoute     = errors.New("offload: there is no way to one end")
	ErrInterface = errors.New("offload: the way to one end is not over Ethernet")
)

// Config is what a [Path] is opened with.
type Config struct {
	// ListenPort is that of the clients' listener.
	ListenPort uint16
	// Flows is how many there may be; each takes 130 bytes before it is used.
	Flows int
	// Clock is the time, in ns: that of the system's monotonic clock, from any moment on.
	Clock func() int64
	// Log receives what an operator should know.
	Log *slog.Logger
	// Classic attaches through the clsact queueing discipline, as kernels before 6.6 need,
	// where the kernel has TCX, too.
	Classic bool
}

// Ends are the addresses of a flow's packets, as they have them on the wire.
type Ends struct {
	Client, Listener netip.AddrPort
	Relay, Peer      netip.AddrPort
	Channel          uint16
}

// Meter is a bucket of bytes that the kernel takes from, too.
type Meter struct {
	// Full is when the bucket will be full, on the clock of the [Path].
	Full  *atomic.Int64
	index uint32
}

// Meters are those of one direction of a flow; each may be nil.
type Meters struct{ Own, User *Meter }

// Traffic is what was relayed one way, and dropped for want of bandwidth.
type Traffic struct{ Packets, Bytes, Dropped uint64 }

func (t *Traffic) add(more Traffic) {
	t.Packets += more.Packets
	t.Bytes += more.Bytes
	t.Dropped += more.Dropped
}

// Left is why packets of flows were left to user space.
type Left string

// The reasons, as labels of a metric.
const (
	LeftEnded     Left = "ended"     // the flow was over, or not yet begun
	LeftLong      Left = "long"      // longer than the way out takes
	LeftJoined    Left = "joined"    // joined by the network card or the kernel
	LeftUnsummed  Left = "unsummed"  // without a checksum yet, as from this machine
	LeftContended Left = "contended" // others took from the same meter all the time
	LeftRoom      Left = "room"      // the kernel had no memory
	LeftTorn      Left = "torn"      // dropped: the kernel failed in the middle
)

// Lefts are all of them.
var Lefts = []Left{LeftEnded, LeftLong, LeftJoined, LeftUnsummed, LeftContended, LeftRoom, LeftTorn}
