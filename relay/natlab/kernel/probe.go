package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/discovery"
	"switchboard/relay/natlab/nat"
)

// Probed is what probes of the way from a host to the internet have found.
type Probed struct {
	// Ours is what package discovery says.
	Ours discovery.Verdict `json:"ours"`
	// Coturn is what coturn's turnutils_natdiscovery says, with Hairpin not set; nil if it
	// could not be asked, which CoturnMissing then says why.
	Coturn        *discovery.Verdict `json:"coturn,omitempty"`
	CoturnMissing string             `json:"coturn_missing,omitempty"`
	// TCP is to which of [TCPPorts] outside connections were made.
	TCP map[uint16]bool `json:"tcp"`
}

// TCPPorts are those that a probe tries: those of TLS and of TURN.
var TCPPorts = []uint16{443, 3478}

// String is a line for a person.
func (p Probed) String() string {
	open := []string{}
	for _, port := range TCPPorts {
		if p.TCP[port] {
			open = append(open, fmt.Sprint(port))
		}
	}
	if len(open) == 0 {
		open = append(open, "none")
	}
	return fmt.Sprintf("%v; TCP ports outside: %s", p.Ours, strings.Join(open, ", "))
}

// expected is what the topology wants probes to find for a host in a network.
func (p *plan) expected(network string) Probed {
	e := Probed{TCP: make(map[uint16]bool)}
	for _, port := range TCPPorts {
		e.TCP[port] = true
	}
	chain := p.chain(network)
	for _, name := range chain {
		r := p.top.Routers[name]
		e.Ours.Blocked = e.Ours.Blocked || r.Firewall.BlockUDP
		for _, port := range TCPPorts {
			e.TCP[port] = e.TCP[port] && (len(r.Firewall.TCPPorts) == 0 || slices.Contains(r.Firewall.TCPPorts, port))
		}
		if r.NAT != nil {
			e.Ours.Translated = true
			e.Ours.Mapping = max(e.Ours.Mapping, r.NAT.Mapping)
			e.Ours.Filtering = max(e.Ours.Filtering, r.NAT.Filtering)
			e.Ours.Hairpin = r.NAT.Hairpin
		}
	}
	if e.Ours.Mapping != nat.EndpointIndependent && e.Ours.Filtering == nat.AddressAndPortDependent {
		e.Ours.Hairpin = false // it cannot be seen: discovery says why
	}
	return e
}

// chain are the routers between a network and the internet, from the inside.
func (p *plan) chain(network string) []string {
	var all []string
	for r, ok := p.leading[network]; ok; r, ok = p.leading[p.top.Routers[r].Outside] {
		all = append(all, r)
	}
	return all
}

// roundTrip bounds the time from a host in a network to another of the internet and back,
// with nothing else on the way.
func (p *plan) roundTrip(network string) time.Duration {
	of := func(network string) time.Duration {
		l := p.top.Networks[network].Link
		return 2 * (l.Delay + l.Jitter)
	}
	total := of(network)
	for _, r := range p.chain(network) {
		total += of(p.top.Routers[r].Outside)
	}
	return total + of(natlab.Internet)
}

// differs is what probes have found otherwise than expected.
func (p Probed) differs(want Probed) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	compare := func(who string, got discovery.Verdict, hairpin bool) {
		w := want.Ours
		switch {
		case got.Blocked != w.Blocked:
			bad("%s: %v, want %v", who, got, w)
		case w.Blocked:
		case got.Translated != w.Translated, got.Mapping != w.Mapping, got.Filtering != w.Filtering, hairpin && w.Translated && got.Hairpin != w.Hairpin:
			bad("%s: %v, want %v", who, got, w)
		}
	}
	compare("our RFC 5780 client", p.Ours, true)
	if p.Coturn != nil {
		compare("coturn's turnutils_natdiscovery", *p.Coturn, false)
	}
	for _, port := range TCPPorts {
		if p.TCP[port] != want.TCP[port] {
			bad("TCP to port %d: connected is %t, want %t", port, p.TCP[port], want.TCP[port])
		}
	}
	return errors.Join(errs...)
}
