package main

import "net/netip"

// family is a family of addresses, with those of the two ends of a cable. They are private
// ones, since relays in development relay to no others that are not public.
type family struct {
	relay     netip.Addr
	generator netip.Addr
	beyond    netip.Addr // a second one of the generator's, which is reached through the relay's end
	bits      string     // of the network that the ends have in common
	suffix    string     // of directions in names of rows
	network   string     // of package net
}

var ipv4 = &family{
	relay: netip.MustParseAddr("10.77.0.1"), generator: netip.MustParseAddr("10.77.0.2"), beyond: netip.MustParseAddr("10.77.1.2"),
	bits: "/30", network: "udp4",
}

var ipv6 = &family{
	relay: netip.MustParseAddr("fd77::1"), generator: netip.MustParseAddr("fd77::2"), beyond: netip.MustParseAddr("fd77:1::2"),
	bits: "/64", suffix: "6", network: "udp6",
}
