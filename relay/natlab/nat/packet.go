package nat

import (
	"fmt"
	"net/netip"
)

// Proto is the number of a protocol in the IP header.
type Proto uint8

// The protocols that are translated.
const (
	TCP Proto = 6
	UDP Proto = 17
)

// String is udp or tcp.
func (p Proto) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// Flags are those of the TCP header that a NAT looks at, with the header's own bits (RFC
// 9293 section 3.1).
type Flags uint8

// The flags; PSH and others may be set, and do not matter.
const (
	FIN Flags = 1 << 0
	SYN Flags = 1 << 1
	RST Flags = 1 << 2
	ACK Flags = 1 << 4
)

// Packet is what a NAT looks at, and what it rewrites, in a packet's headers. Addresses are
// never IPv4-mapped ones: unmap what comes from elsewhere.
type Packet struct {
	Proto    Proto
	Flags    Flags // of TCP
	Src, Dst netip.AddrPort
}

// Verdict is what became of a packet.
type Verdict uint8

// The verdicts. All but the first two are reasons for a silent drop.
const (
	// Forward sends it on, the way it was going.
	Forward Verdict = iota
	// Hairpin sends it back inside, to the destination that it now has.
	Hairpin
	// NoMapping: nobody inside has the external port.
	NoMapping
	// Filtered: the inside endpoint has not sent to where it comes from.
	Filtered
	// Exhausted: no external port is free.
	Exhausted
	// Full: the table holds as many sessions as it may.
	Full
	// NoHairpin: it is for the NAT's own external address, and this one does not turn packets
	// round.
	NoHairpin
	// Untranslated: of a protocol or an address family that this NAT does not translate.
	Untranslated
)

var verdicts = []string{"forward", "hairpin", "no mapping", "filtered", "ports exhausted", "table full", "no hairpinning", "not translated"}

// Verdicts lists all of them.
func Verdicts() []Verdict {
	return []Verdict{Forward, Hairpin, NoMapping, Filtered, Exhausted, Full, NoHairpin, Untranslated}
}

// Dropped is whether the packet ends here.
func (v Verdict) Dropped() bool { return v > Hairpin }

// String is a few words, from a closed set.
func (v Verdict) String() string {
	if int(v) >= len(verdicts) {
		return fmt.Sprintf("verdict %d", uint8(v))
	}
	return verdicts[v]
}
