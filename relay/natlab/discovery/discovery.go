// Package discovery finds out how the NATs in front of a client behave, with a STUN server of
// two addresses and two ports (RFC 5780). It is told nothing of them: a lab asks it whether
// its NATs are what they should be.
//
// It works over any [net.PacketConn], in memory or not, and starts no goroutine that
// outlives a call.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"switchboard/relay/natlab/nat"
)

// DefaultWait is how long an answer may take if Client says nothing else.
const DefaultWait = 500 * time.Millisecond

// Errors of a discovery.
var (
	// ErrNoAnswer: the server does not answer, so that UDP is blocked or nobody is there.
	ErrNoAnswer = errors.New("the STUN server does not answer")
	// ErrOneAddress: the server names no other address (OTHER-ADDRESS), which all tests need.
	ErrOneAddress = errors.New("the STUN server has one address only")
)

// Client asks a server. Its methods may be called by many goroutines at once.
type Client struct {
	// Listen opens a socket of the client, which is closed after one test: what a test had
	// a NAT let in is not to help another.
	Listen func() (net.PacketConn, error)
	Server netip.AddrPort
	// Own are the client's addresses: one that the server sees and that is not among them is a
	// NAT's.
	Own []netip.Addr
	// Known is how the client knows an address that the server names; nil is just so. Behind
	// a NAT64 it is another, under its prefix.
	Known func(netip.Addr) netip.Addr
	// Wait is how long an answer may take, 0 for DefaultWait. Meanwhile, the request is sent
	// four times. It bounds the discovery, to six times that.
	Wait time.Duration
}

// Verdict is how all NATs in front of a client behave together.
type Verdict struct {
	// Blocked is whether the server was not heard at all; then the rest is not known.
	Blocked bool `json:"blocked,omitempty"`
	// External is how the server sees one of the client's sockets, and Translated whether
	// that is not how it is bound. Preserved is whether the port is.
	External   netip.AddrPort `json:"external"`
	Translated bool           `json:"translated"`
	Preserved  bool           `json:"preserved"`
	Mapping    nat.Behavior   `json:"mapping"`
	Filtering  nat.Behavior   `json:"filtering"`
	// Hairpin is whether two sockets of the client reach each other by their external
	// endpoints.
	Hairpin bool `json:"hairpin"`
}

// String is a line for a person.
func (v Verdict) String() string {
	if v.Blocked {
		return "UDP is blocked"
	}
	if !v.Translated {
		return fmt.Sprintf("no NAT, %v filtering", v.Filtering)
	}
	hairpin := "no hairpinning"
	if v.Hairpin {
		hairpin = "hairpinning"
	}
	return fmt.Sprintf("%v mapping, %v filtering, %s", v.Mapping, v.Filtering, hairpin)
}

// Discover makes all tests at once. That nobody answers is a verdict, and no error.
func (c Client) Discover(ctx context.Context) (Verdict, error) {
	var v Verdict
	var errs [3]error
	var tests sync.WaitGroup
	tests.Go(func() { v.Mapping, errs[0] = c.mapping(ctx, &v) })
	tests.Go(func() { v.Filtering, errs[1] = c.Filtering(ctx) })
	tests.Go(func() { v.Hairpin, errs[2] = c.Hairpin(ctx) })
	tests.Wait()
	if errors.Is(errs[0], ErrNoAnswer) && errors.Is(errs[1], ErrNoAnswer) && errors.Is(errs[2], ErrNoAnswer) {
		return Verdict{Blocked: true}, nil
	}
	return v, errors.Join(errs[:]...)
}

// Mapping finds out on what the mapping depends (RFC 5780 section 4.3). Without a NAT it
// is endpoint-independent.
func (c Client) Mapping(ctx context.Context) (nat.Behavior, error) {
	return c.mapping(ctx, new(Verdict))
}

// mapping also fills in what its first answer says.
func (c Client) mapping(ctx context.Context, v *Verdict) (nat.Behavior, error) {
	s, err := c.open(ctx)
	if err != nil {
		return 0, fmt.Errorf("mapping: %w", err)
	}
	defer s.close()
	first, err := s.first()
	if err != nil {
		return 0, fmt.Errorf("mapping: %w", err)
	}
	v.External = first.mapped
	v.Preserved = first.mapped.Port() == s.port()
	v.Translated = !v.Preserved || !slices.Contains(c.Own, first.mapped.Addr())
	other := first.other
	second, err := s.ask(netip.AddrPortFrom(other.Addr(), c.Server.Port()), 0)
	if err != nil {
		return 0, fmt.Errorf("mapping: at the other address: %w", err)
	}
	if second.mapped == first.mapped {
		return nat.EndpointIndependent, nil
	}
	third, err := s.ask(other, 0)
	switch {
	case err != nil:
		return 0, fmt.Errorf("mapping: at the other port: %w", err)
	case third.mapped == second.mapped:
		return nat.AddressDependent, nil
	}
	return nat.AddressAndPortDependent, nil
}

// Filtering finds out on what the filtering depends (RFC 5780 section 4.4). Without a NAT
// or firewall it is endpoint-independent.
func (c Client) Filtering(ctx context.Context) (nat.Behavior, error) {
	s, err := c.open(ctx)
	if err != nil {
		return 0, fmt.Errorf("filtering: %w", err)
	}
	defer s.close()
	if _, err := s.first(); err != nil {
		return 0, fmt.Errorf("filtering: %w", err)
	}
	for _, test := range []struct {
		change byte
		shows  nat.Behavior
	}{
		{changeAddress | changePort, nat.EndpointIndependent},
		{changePort, nat.AddressDependent},
	} {
		_, err := s.ask(c.Server, test.change)
		switch {
		case err == nil:
			return test.shows, nil
		case !errors.Is(err, ErrNoAnswer):
			return 0, fmt.Errorf("filtering: %w", err)
		}
	}
	return nat.AddressAndPortDependent, nil
}

// Hairpin finds out whether two sockets of the client reach each other by the endpoints that
// the server sees (RFC 4787 section 6). Both send, since each may filter. Where each
// destination has a mapping of its own, the right endpoints are not known, and the answer is
// no if the filter depends on ports.
func (c Client) Hairpin(ctx context.Context) (bool, error) {
	var socks [2]*socket
	var mapped [2]netip.AddrPort
	for i := range socks {
		s, err := c.open(ctx)
		if err != nil {
			return false, fmt.Errorf("hairpinning: %w", err)
		}
		defer s.close()
		first, err := s.first()
		if err != nil {
			return false, fmt.Errorf("hairpinning: %w", err)
		}
		socks[i], mapped[i] = s, first.mapped
		if c.Known != nil {
			mapped[i] = netip.AddrPortFrom(c.Known(mapped[i].Addr()), mapped[i].Port())
		}
	}
	var heard [2]bool
	var errs [2]error
	var both sync.WaitGroup
	for i := range socks {
		both.Go(func() { heard[i], errs[i] = socks[i].meet(mapped[1-i], socks[1-i]) })
	}
	both.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return false, fmt.Errorf("hairpinning: %w", err)
	}
	return heard[0] || heard[1], nil
}
