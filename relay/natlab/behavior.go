package natlab

import (
	"fmt"
	"slices"
	"time"
)

// Behavior is what a NAT's mapping, or its filtering, depends on (RFC 4787 sections
// 4.1 and 5, RFC 5382 sections 4.1 and 4.3). The zero value is EndpointIndependent.
type Behavior int

// The three behaviours.
const (
	EndpointIndependent Behavior = iota
	AddressDependent
	AddressAndPortDependent
)

var behaviors = []string{"endpoint-independent", "address-dependent", "address-and-port-dependent"}

// Behaviors lists all of them, from the mildest to the strictest.
func Behaviors() []Behavior {
	return []Behavior{EndpointIndependent, AddressDependent, AddressAndPortDependent}
}

// String is the RFC's name, in lower case with hyphens.
func (b Behavior) String() string {
	if b < 0 || int(b) >= len(behaviors) {
		return fmt.Sprintf("behavior %d", int(b))
	}
	return behaviors[b]
}

// MarshalText is String.
func (b Behavior) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText takes what String gives.
func (b *Behavior) UnmarshalText(text []byte) error {
	i := slices.Index(behaviors, string(text))
	if i < 0 {
		return fmt.Errorf("behaviour %q: not one of %v", text, behaviors)
	}
	*b = Behavior(i)
	return nil
}

// Ports is how a NAT chooses the external port of a new mapping (RFC 4787 section 4.2).
type Ports int

const (
	// PreservePorts keeps the internal port while it is free outside, and else takes a
	// random one.
	PreservePorts Ports = iota
	// RandomPorts takes a random free one.
	RandomPorts
	// SequentialPorts takes the next free one.
	SequentialPorts
)

var portChoices = []string{"preserve", "random", "sequential"}

// String is the word that UnmarshalText takes.
func (p Ports) String() string {
	if p < 0 || int(p) >= len(portChoices) {
		return fmt.Sprintf("ports %d", int(p))
	}
	return portChoices[p]
}

// MarshalText is String.
func (p Ports) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes preserve, random or sequential.
func (p *Ports) UnmarshalText(text []byte) error {
	i := slices.Index(portChoices, string(text))
	if i < 0 {
		return fmt.Errorf("ports %q: not one of %v", text, portChoices)
	}
	*p = Ports(i)
	return nil
}

// NAT is how a NAT behaves. The zero value is what was once called a full cone, with
// ports preserved and without hairpinning.
type NAT struct {
	// Mapping is when a client that sends from one socket to several endpoints is seen
	// from one external endpoint.
	Mapping Behavior `yaml:"mapping"`
	// Filtering is whose packets are let in to a mapping. It is for UDP; connections are let
	// in by AddressAndPortDependent always, as most NATs do.
	Filtering Behavior `yaml:"filtering"`
	// Ports is how external ports are chosen.
	Ports Ports `yaml:"ports"`
	// PortRange is where external ports are, both ends included; 0 is 1024 to 65535. With
	// few of them, new mappings fail once all are taken.
	PortRange PortRange `yaml:"port_range"`
	// Hairpin is whether inside hosts reach each other by their external endpoints (RFC
	// 4787 section 6). The source is then the external one.
	Hairpin bool `yaml:"hairpin"`
	// Timeout is how long a UDP mapping lives after the last packet that went out through it
	// (RFC 4787 section 4.3); 0 is DefaultTimeout. A TCP mapping lives TCPTimeout.
	Timeout time.Duration `yaml:"timeout"`
	// NAT64 has the inside speak IPv6 to IPv4 servers (RFC 6146), whose names lead to
	// addresses under 64:ff9b::/96 there (RFC 6147).
	NAT64 bool `yaml:"nat64"`
}

// PortRange is a range of ports with both its ends.
type PortRange struct {
	Min uint16 `yaml:"min"`
	Max uint16 `yaml:"max"`
}

const (
	// DefaultTimeout is the life of a UDP mapping: what RFC 4787 section 4.3 wants at
	// least.
	DefaultTimeout = 2 * time.Minute
	// TCPTimeout is the life of an established connection's mapping: what RFC 5382 section 5
	// wants at least.
	TCPTimeout = 2*time.Hour + 4*time.Minute
)

// The NATs that have old names (RFC 3489 section 5). Symmetric ones choose ports at random.
var (
	FullCone          = NAT{}
	AddressRestricted = NAT{Filtering: AddressDependent}
	PortRestricted    = NAT{Filtering: AddressAndPortDependent}
	Symmetric         = NAT{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: RandomPorts}
)
