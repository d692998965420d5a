package nat

import (
	"fmt"
	"slices"
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
	if !b.known() {
		return fmt.Sprintf("behavior %d", int(b))
	}
	return behaviors[b]
}

func (b Behavior) known() bool { return b >= 0 && int(b) < len(behaviors) }

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
