package nat

import "net/netip"

// Embed is an IPv4 address as hosts behind a NAT64 know it: in [Prefix64] (RFC 6052 section
// 2.2).
func Embed(v4 netip.Addr) netip.Addr {
	a := Prefix64.Addr().As16()
	b := v4.As4()
	copy(a[12:], b[:])
	return netip.AddrFrom16(a)
}

// Extract is the IPv4 address in one of [Prefix64].
func Extract(v6 netip.Addr) netip.Addr {
	a := v6.As16()
	return netip.AddrFrom4([4]byte(a[12:]))
}
