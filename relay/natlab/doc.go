// Package natlab has networks and NATs to test in, in memory: hosts behind routers
// that translate, filter, delay and lose as they are told, in the terms of RFC 4787 and
// RFC 5382.
//
// A [World] looks like net/http/httptest does: make one, add routers and hosts to its
// internet, and give [Host.Net] to whatever takes a [transport.Net], as pion/webrtc's and
// pion/turn's settings do, or [Host.DialContext] and [Host.Listen] to the rest. [Build]
// makes one of a [Topology] that was read from somewhere. It keeps the time of the
// goroutines around it: in a bubble of testing/synctest, an hour costs a millisecond.
//
// Packets go from hop to hop: from a host over its network's [Link] to a neighbour or the
// network's router, which hands them to the network outside. What no link delays arrives
// before the call that sent it returns. Each direction of each link, and each NAT, has
// randomness of its own that follows from the world's seed. [World.Trace] tells of each
// packet where it ended, and why, as one of [Drop].
//
// Hosts have IPv4, IPv6, UDP and TCP as from afar they look: addresses of the networks that
// they are in, routes, ephemeral ports, the errors that Linux has. TCP retransmits and
// congests as RFC 6298 and RFC 5681 say, and connections last through losses, cuts and
// reboots, or break, as real ones would. Names of hosts lead to their addresses
// everywhere, without a packet. There are no fragments, no ICMP and no broadcasts: what
// cannot arrive is lost in silence.
//
// The parts can be used without a world: the package nat is the NAT, link is the link, and
// pcap writes captures. The package kernel makes the same Topology of network namespaces,
// for what only a real stack shows. None of them knows anything of calls.
package natlab
