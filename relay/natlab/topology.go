package natlab

import (
	"net/netip"

	"switchboard/relay/natlab/link"
	"switchboard/relay/natlab/nat"
)

// Internet is the name of the network that every topology has: public, dual-stack,
// without impairment unless said otherwise. Its prefixes are those for benchmarks (RFC
// 2544, RFC 5180), so that nobody real is ever meant.
const Internet = "internet"

// The prefixes of [Internet], and the one for IPv4 servers behind a NAT64 (RFC 6052).
var (
	Internet4 = netip.MustParsePrefix("198.18.0.0/16")
	Internet6 = netip.MustParsePrefix("2001:2::/48")
	NAT64     = nat.Prefix64
)

// Topology describes networks, the routers between them, and hosts, for both engines:
// [Build] makes it in memory, the package kernel of network namespaces. Names are 1 to 12
// of a-z, 0-9 and hyphens, each used once.
type Topology struct {
	Networks map[string]NetworkSpec `yaml:"networks"`
	Routers  map[string]RouterSpec  `yaml:"routers"`
	Hosts    map[string]HostSpec    `yaml:"hosts"`
}

// NetworkSpec is a network that hosts are in: all of it is one hop.
type NetworkSpec struct {
	// Prefixes are at most one of each family; none of them: a free one under 192.168.0.0/16.
	// A network without an IPv4 prefix is IPv6 only.
	Prefixes []netip.Prefix `yaml:"prefixes"`
	// Link is what happens to each packet between a host, or a router's outside, and this
	// network, in each direction.
	Link Link `yaml:"link"`
}

// RouterSpec leads from an inner network towards the internet. Each network but the
// internet has at most one; there are no cycles.
type RouterSpec struct {
	Inside  string `yaml:"inside"`
	Outside string `yaml:"outside"`
	// NAT translates; nil routes IPv4 (and the outside knows the way back). IPv6 is never
	// translated but by NAT64.
	NAT *NAT `yaml:"nat"`
	// Firewall bounds what passes, whatever the NAT.
	Firewall Firewall `yaml:"firewall"`
	// IPv6 is whether inside hosts reach the outside over IPv6.
	IPv6 IPv6 `yaml:"ipv6"`
}

// IPv6 is what a router does to it: "", "routed" or "blackhole".
type IPv6 string

const (
	IPv6None      IPv6 = ""          // hosts have no IPv6 but where the network has a prefix, and no route
	IPv6Routed    IPv6 = "routed"    // with a stateful firewall: only answers come in (RFC 6092)
	IPv6Blackhole IPv6 = "blackhole" // hosts believe that it works, and nothing arrives
)

// Firewall is what a router drops, silently, beside what its NAT filters.
type Firewall struct {
	// BlockUDP drops all of it.
	BlockUDP bool `yaml:"block_udp"`
	// TCPPorts are the only ports outside that may be connected to; empty is all.
	TCPPorts []uint16 `yaml:"tcp_ports"`
}

// HostSpec is a machine. It is in the first of its networks; the others it can be moved
// to, or join as with a VPN.
type HostSpec struct {
	Networks []string `yaml:"networks"`
}

// Link is what happens to packets on the way: the package link has it, for whoever
// forwards packets. The zero value delivers at once.
type Link = link.Config
