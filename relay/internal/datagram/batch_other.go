//go:build !linux

package datagram

import "net/netip"

const (
	canBatch     = false
	maxCoalesced = 0
	maxSegments  = 1
)

// Nothing of this system is used: all goes one by one.
type (
	system     struct{}
	slots      struct{}
	sending    struct{}
	rawAddress struct{}
)

func (*Socket) open()                        {}
func (*Socket) segments() bool               { return false }
func (*Socket) receive() error               { return nil }
func (*slots) open(*Batch, int)              {}
func (*sending) open(int)                    {}
func (*Sender) flush(*Socket) int            { return 0 }
func (*rawAddress) set(netip.AddrPort, bool) {}
func (*slots) from(int) netip.AddrPort       { return netip.AddrPort{} }
func coalesces() bool                        { return false }
