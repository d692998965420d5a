package natlab

import "switchboard/relay/natlab/nat"

// How a router translates: the package nat has it, without the network.
type (
	NAT       = nat.NAT
	Behavior  = nat.Behavior
	Ports     = nat.Ports
	PortRange = nat.PortRange
)

// The behaviours of mapping and filtering, and how ports are chosen.
const (
	EndpointIndependent     = nat.EndpointIndependent
	AddressDependent        = nat.AddressDependent
	AddressAndPortDependent = nat.AddressAndPortDependent

	PreservePorts   = nat.PreservePorts
	RandomPorts     = nat.RandomPorts
	SequentialPorts = nat.SequentialPorts

	DefaultTimeout = nat.DefaultTimeout
	TCPTimeout     = nat.TCPTimeout
)

// Behaviors lists all of them, from the mildest to the strictest.
func Behaviors() []Behavior { return nat.Behaviors() }

// The NATs that have old names (RFC 3489 section 5). Symmetric ones choose ports at random.
var (
	FullCone          = NAT{}
	AddressRestricted = NAT{Filtering: AddressDependent}
	PortRestricted    = NAT{Filtering: AddressAndPortDependent}
	Symmetric         = NAT{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: RandomPorts}
)
