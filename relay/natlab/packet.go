package natlab

import (
	"fmt"
	"net/netip"
	"time"

	"switchboard/relay/natlab/nat"
)

// packet is one on its way. Each is owned by whoever has it at the moment, and its
// payload is never changed.
type packet struct {
	proto    nat.Proto
	flags    nat.Flags // of TCP, as all up to payload
	window   uint32
	seq, ack uint32
	src, dst netip.AddrPort
	payload  []byte
}

// size is with headers, without options (RFC 791, 8200, 768, 9293).
func (p *packet) size() int {
	n := len(p.payload) + 20
	if p.dst.Addr().Is6() {
		n += 20
	}
	if p.proto == nat.TCP {
		return n + 20
	}
	return n + 8
}

// Packet is what happened to a packet at one place.
type Packet struct {
	At   time.Time
	Node string // the host, router or network where it happened
	What What
	Why  Drop // if it was dropped

	// The headers as they are there. Flags, Seq, Ack and Window are of TCP.
	Proto    nat.Proto
	Flags    nat.Flags
	Src, Dst netip.AddrPort
	Seq, Ack uint32
	Window   uint32
	Payload  []byte // must not be changed
}

// What is what can happen to a packet.
type What uint8

// The things that can happen to a packet, at a host but for the last two.
const (
	Sent      What = iota
	Received       // by a socket, or its host's TCP
	Forwarded      // by a router, with the addresses that it then has
	Dropped
)

// String is a word.
func (x What) String() string {
	switch x {
	case Sent:
		return "sent"
	case Received:
		return "received"
	case Forwarded:
		return "forwarded"
	case Dropped:
		return "dropped"
	}
	return fmt.Sprintf("what %d", uint8(x))
}

// Drop is why a packet ended before its destination.
type Drop uint8

// The reasons.
const (
	NotDropped      Drop = iota
	LinkLoss             // lost by lot on a link
	LinkQueueFull        // too much for a link's rate
	NetworkCut           // the network is cut
	NoRoute              // nobody knows the way
	NoHost               // the address is nobody's, or not any more
	HostDown             // the host has crashed
	NoSocket             // nobody listens
	SocketFull           // whoever listens does not keep up
	WrongSource          // a router does not know the network of the source (RFC 2827)
	BlockedUDP           // by a firewall
	BlockedPort          // by a firewall
	BlackholedIPv6       // by a router whose IPv6 leads nowhere
	FilteredIPv6         // by a firewall that lets answers in only
	NATNoMapping         // nobody has the external port
	NATFiltered          // the internal endpoint has not sent there
	NATExhausted         // no external port is free
	NATFull              // too many sessions
	NATNoHairpin         // from inside to the external address
	NATUntranslated      // of another kind than the NAT is for

	drops = int(NATUntranslated) + 1
)

var dropNames = [drops]string{
	"not dropped", "link loss", "link queue full", "network cut", "no route", "no host", "host down", "no socket", "socket full",
	"wrong source", "UDP blocked", "port blocked", "IPv6 blackholed", "IPv6 filtered",
	"NAT: no mapping", "NAT: filtered", "NAT: ports exhausted", "NAT: full", "NAT: no hairpinning", "NAT: not translated",
}

// String is a few words, from a closed set.
func (d Drop) String() string {
	if int(d) >= drops {
		return fmt.Sprintf("drop %d", uint8(d))
	}
	return dropNames[d]
}

// dropOf is the reason of a table's verdict.
func dropOf(v nat.Verdict) Drop {
	switch v {
	case nat.NoMapping:
		return NATNoMapping
	case nat.Filtered:
		return NATFiltered
	case nat.Exhausted:
		return NATExhausted
	case nat.Full:
		return NATFull
	case nat.NoHairpin:
		return NATNoHairpin
	}
	return NATUntranslated
}
