package kernel

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"switchboard/relay/natlab"
)

// ruleset is what nftables is told in a router's namespace. With user set, IPv4 and NAT64
// are left to the user-space router, and with client, what comes in and has no connection goes
// to that host.
type ruleset struct {
	spec     natlab.RouterSpec
	external netip.Addr
	client   netip.Addr
	user     bool
}

// String is one rule a line, for nft -f.
func (s ruleset) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("table inet natlab {")
	if s.sets() {
		line("set mapped { type ipv4_addr . inet_service; size 65536; flags dynamic,timeout; timeout %ds; }", lifetime)
		line("set seen { type ipv4_addr . inet_service . ipv4_addr; size 65536; flags dynamic,timeout; timeout %ds; }", lifetime)
	}
	line("chain forward { type filter hook forward priority 0; policy drop;")
	s.firewall(line)
	s.pass(line)
	line("}")
	// Silence, as from a real one: an answer of the router's own would also tell a NAT apart
	// from another, and an accepted packet would take its port.
	line("chain input { type filter hook input priority 0; policy drop;")
	line("iif lo accept")
	line("meta l4proto { icmp, ipv6-icmp } accept")
	line("}")
	if s.spec.NAT != nil && !s.user {
		s.translate(line)
	}
	line("}")
	return b.String()
}

// sets is whether the kernel keeps track of who has sent where, beside its connections.
func (s ruleset) sets() bool { return s.client.IsValid() && !s.user }

// firewall drops what may not pass, whatever the NAT.
func (s ruleset) firewall(line func(string, ...any)) {
	if s.spec.Firewall.BlockUDP {
		line("meta l4proto udp drop")
	}
	if ports := s.spec.Firewall.TCPPorts; len(ports) > 0 {
		line("iifname %q tcp dport != { %s } drop", innerDev, strings.Trim(strings.Join(strings.Fields(fmt.Sprint(ports)), ", "), "[]"))
	}
}

// pass accepts what the router forwards.
func (s ruleset) pass(line func(string, ...any)) {
	switch {
	case s.user:
		// This decides nothing, but has conntrack work, for which the kernel waits for all
		// fragments of a packet.
		line("meta l4proto udp ct state new")
		line("oifname { %q, %q } accept", tunInner, tunOuter)
		line("iifname { %q, %q } accept", tunInner, tunOuter)
	case s.spec.NAT == nil:
		line("meta nfproto ipv4 accept")
	default:
		s.filter(line)
	}
	if s.spec.IPv6 == natlab.IPv6Routed {
		line("iifname %q meta nfproto ipv6 accept", innerDev)
		line("iifname %q meta nfproto ipv6 ct state established,related accept", outerDev)
	}
}

// filter is that of a NAT (RFC 4787 section 5). What has no connection has come to the
// client by the rule for that, or to nobody.
func (s ruleset) filter(line func(string, ...any)) {
	out := fmt.Sprintf("iifname %q oifname %q meta nfproto ipv4", innerDev, outerDev)
	if s.sets() {
		line("%s meta l4proto udp update @mapped { ip saddr . udp sport }", out)
		line("%s meta l4proto udp update @seen { ip saddr . udp sport . ip daddr }", out)
	}
	line("%s accept", out)
	in := fmt.Sprintf("iifname %q oifname %q meta nfproto ipv4", outerDev, innerDev)
	line("%s ct state established,related accept", in)
	switch {
	case !s.sets():
	case s.spec.NAT.Filtering == natlab.EndpointIndependent:
		line("%s meta l4proto udp ip daddr . udp dport @mapped accept", in)
	default:
		line("%s meta l4proto udp ip daddr . udp dport . ip saddr @seen accept", in)
	}
}

func (s ruleset) translate(line func(string, ...any)) {
	if s.client.IsValid() {
		line("chain prerouting { type nat hook prerouting priority dstnat;")
		line("iifname %q ip daddr %s udp dport 1024-65535 dnat ip to %s", outerDev, s.external, s.client)
		line("}")
	}
	how := ""
	if s.spec.NAT.Ports == natlab.RandomPorts {
		how = " fully-random"
	}
	line("chain postrouting { type nat hook postrouting priority srcnat;")
	line("oifname %q meta nfproto ipv4 masquerade%s", outerDev, how)
	line("}")
}

// forget is what nftables is told when the router reboots, beside the end of all
// connections.
func (s ruleset) forget() string {
	if !s.sets() {
		return ""
	}
	return "flush set inet natlab mapped\nflush set inet natlab seen\n"
}

// lifetime is that of a UDP mapping in the kernel, in seconds.
const lifetime = int(natlab.DefaultTimeout / time.Second)

// cutRules have a bridge carry nothing but what finds neighbours: whoever sends notices
// nothing.
const cutRules = `table bridge cut {
chain forward { type filter hook forward priority 0; policy drop;
ether type arp accept
icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
}
}
`

// uncutRules undo cutRules, also where there are none.
const uncutRules = "table bridge cut\ndelete table bridge cut\n"
