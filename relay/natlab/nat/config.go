package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Prefix64 is where inside hosts of a NAT64 find IPv4 servers (RFC 6052 section 2.1).
var Prefix64 = netip.MustParsePrefix("64:ff9b::/96")

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

// Validate names everything that is wrong, one error each, joined.
func (n NAT) Validate() error {
	var errs []error
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(!n.Mapping.known(), "mapping: %v is unknown", n.Mapping)
	bad(!n.Filtering.known(), "filtering: %v is unknown", n.Filtering)
	bad(n.Ports < PreservePorts || n.Ports > SequentialPorts, "ports: %v is unknown", n.Ports)
	r := n.PortRange
	bad(r != PortRange{} && (r.Min == 0 || r.Max < r.Min), "port_range: %d to %d is no range of ports", r.Min, r.Max)
	bad(n.Timeout < 0, "timeout: %v is negative", n.Timeout)
	return errors.Join(errs...)
}
