//go:build !linux

package datagram

import (
	"net"
	"net/netip"
	"os"
)

const (
	canBatch     = false
	maxCoalesced = 0
	maxSegments  = 1
)

// Nothing of this system is used: all goes one by one.
type (
	system     struct{ file *os.File }
	polling    struct{}
	slots      struct{}
	sending    struct{}
	rawAddress struct{}
)

func (*Socket) open(*net.UDPConn) error                    { return nil }
func (*Socket) close() error                               { return nil }
func (*Socket) join(int)                                   {}
func (*Socket) segments() bool                             { return false }
func (*Socket) send([]byte, netip.AddrPort) error          { return nil }
func (*Loop) open() error                                  { return nil }
func (*Loop) close() error                                 { return nil }
func (*Loop) add(*Socket, func(*Batch), func(error)) error { return nil }
func (*slots) open(*Batch, int)                            {}
func (*slots) from(int) netip.AddrPort                     { return netip.AddrPort{} }
func (*sending) open(int)                                  {}
func (*Sender) flush(*Socket) int                          { return 0 }
func (*rawAddress) set(netip.AddrPort, bool)               {}
func coalesces() bool                                      { return false }
