//go:build !linux

package offload

import "net/netip"

// Path is what other systems do not have.
type Path struct{}

// Flow is a channel that is relayed in the kernel.
type Flow struct{}

// Open fails.
func Open(Config) (*Path, error) { return nil, ErrUnsupported }

func (*Path) Bound(int64, func(up, down *Meter))            {}
func (*Path) Meter(int64) *Meter                            { return nil }
func (*Path) Free(*Meter)                                   {}
func (*Path) Traffic() (toPeers, toClients Traffic)         { return Traffic{}, Traffic{} }
func (*Path) Left() (map[Left]uint64, error)                { return nil, ErrUnsupported }
func (*Path) Close() error                                  { return nil }
func (*Path) Install(Ends, [2]Meters) (*Flow, error)        { return nil, ErrUnsupported }
func (*Path) Remove(*Flow)                                  {}
func (*Path) Len() int                                      { return 0 }
func (*Path) Reroute(*Flow) error                           { return ErrUnsupported }
func (*Path) Reconcile() (int, error)                       { return 0, ErrUnsupported }
func (*Path) Cover(func(netip.Addr) bool) ([]string, error) { return nil, ErrUnsupported }
func (*Path) GiveUp() ([]string, error)                     { return nil, nil }
func (*Path) Detach() error                                 { return nil }
func (*Path) From(netip.Addr) (netip.Addr, error)           { return netip.Addr{}, ErrUnsupported }
func (*Path) Watch(<-chan struct{}, func(), func()) (wait func(), e error) {
	return func() {}, ErrUnsupported
}

func (*Flow) Extend(int64, bool) {}
func (*Flow) End()               {}
func (*Flow) EndDown()           {}
func (*Flow) Media() int64       { return 0 }
