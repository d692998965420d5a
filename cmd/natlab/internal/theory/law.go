package theory

import (
	"fmt"

	"switchboard/relay/natlab"
)

// The numbers of the reasons in THEORY.md.
const (
	SameNetwork = iota + 1
	OverIPv6
	NoNAT
	BothKeepTheirEndpoint
	OneMoves
	BothMoveOneByAddress
	FilterForeseesNoMove
	BothMoveByPort
	UDPBlocked
	OnlyTLS
	NoCommonFamily
	Hairpin
	NoHairpin
	NoRelay
	Unreachable
)

// Expectation is a path and the number of the reason for it.
type Expectation struct {
	Path   Path
	Reason int
}

// UnsureError says that the law has no answer for a chain of NATs.
type UnsureError struct{ Host string }

func (e *UnsureError) Error() string {
	return fmt.Sprintf("theory has no answer for the NATs in front of %s (one filters by address what another has mapped by destination): state the path", e.Host)
}

// Between is the law: the best path between two hosts of a topology, each in the first of
// its networks. relays is whether there are any; a STUN server is taken for granted. The
// error is an [UnsureError], or that a host is nowhere.
func Between(t natlab.Topology, caller, callee string, relays bool) (Expectation, error) {
	t = t.Complete()
	a, err := newSide(t, caller)
	if err != nil {
		return Expectation{}, err
	}
	b, err := newSide(t, callee)
	if err != nil {
		return Expectation{}, err
	}
	direct, err := withoutRelay(a, b)
	if err != nil {
		return Expectation{}, err
	}
	if direct.Path != None {
		return direct, nil
	}
	return throughRelay(a, b, direct.Reason, relays), nil
}

// withoutRelay is the path without one, or None and the reason why there is no such.
func withoutRelay(a, b side) (Expectation, error) {
	at := meet(a, b)
	if at == "" {
		return Expectation{None, Unreachable}, nil
	}
	belowA, belowB := a.below(at), b.below(at)
	blocked := belowA.blocksUDP() || belowB.blocksUDP()
	switch {
	case len(belowA.routers)+len(belowB.routers) == 0:
		return Expectation{Host, SameNetwork}, nil
	case blocked:
		return Expectation{None, UDPBlocked}, nil
	case belowA.ipv6() && belowB.ipv6():
		return Expectation{Host, OverIPv6}, nil
	case !a.ipv4() || !b.ipv4():
		return Expectation{None, NoCommonFamily}, nil
	case len(belowA.nats())+len(belowB.nats()) == 0:
		return Expectation{Host, NoNAT}, nil
	case len(belowA.nats()) == 0 || len(belowB.nats()) == 0:
		return Expectation{Direct, NoNAT}, nil
	case at == natlab.Internet:
		return throughNATs(a, b)
	}
	return hairpinned(a, b, at)
}

// hairpinned is for two sides whose last NATs are the same: each knows the other by an
// external endpoint of the outermost of them alone, which must turn packets round.
func hairpinned(a, b side, at string) (Expectation, error) {
	shared := a.routers[len(a.below(at).routers):]
	var outermost *natlab.NAT
	for _, r := range shared {
		if r.Firewall.BlockUDP {
			return Expectation{None, UDPBlocked}, nil
		}
		if r.NAT != nil {
			outermost = r.NAT
		}
	}
	if outermost == nil || !outermost.Hairpin {
		return Expectation{None, NoHairpin}, nil
	}
	e, err := throughNATs(a, b)
	if e.Path == Direct {
		e.Reason = Hairpin
	}
	return e, err
}

// throughNATs is the law for two NATs, or chains of them.
func throughNATs(a, b side) (Expectation, error) {
	mapA, filterA, sureA := a.behavior()
	mapB, filterB, sureB := b.behavior()
	if !sureA {
		return Expectation{}, &UnsureError{a.host}
	}
	if !sureB {
		return Expectation{}, &UnsureError{b.host}
	}
	movesA, movesB := mapA != natlab.EndpointIndependent, mapB != natlab.EndpointIndependent
	switch {
	case !movesA && !movesB:
		return Expectation{Direct, BothKeepTheirEndpoint}, nil
	case movesA && filterB == natlab.AddressAndPortDependent, movesB && filterA == natlab.AddressAndPortDependent:
		return Expectation{None, FilterForeseesNoMove}, nil
	case mapA == natlab.AddressAndPortDependent && mapB == natlab.AddressAndPortDependent:
		return Expectation{None, BothMoveByPort}, nil
	case movesA && movesB:
		return Expectation{Direct, BothMoveOneByAddress}, nil
	}
	return Expectation{Direct, OneMoves}, nil
}

// throughRelay is the path by relays, where why says why there is no other.
func throughRelay(a, b side, why int, relays bool) Expectation {
	if !relays {
		return Expectation{None, NoRelay}
	}
	e := Expectation{Worst(a.relay(), b.relay()), why}
	switch e.Path {
	case None:
		e.Reason = Unreachable
	case RelayTLS:
		e.Reason = OnlyTLS
	case RelayTCP:
		e.Reason = UDPBlocked
	}
	return e
}
