package relay

import "net/netip"

// Networks of IPv6 whose addresses stand for IPv4 addresses.
var (
	net6to4     = netip.MustParsePrefix("2002::/16")
	netTeredo   = netip.MustParsePrefix("2001::/32")
	netNAT64    = netip.MustParsePrefix("64:ff9b::/96")
	netNAT64Own = netip.MustParsePrefix("64:ff9b:1::/48")
	netCompat   = netip.MustParsePrefix("::/96")
	netSIIT     = netip.MustParsePrefix("::ffff:0:0:0/96")
)

// maxForms is how many forms an address has at most: itself and four readings
// of an address of an operator's own NAT64.
const maxForms = 5

// appendForms appends to f the canonical form of a, and every IPv4 address that
// a packet to it may reach in the end. Who judges an address judges all of them,
// because an IPv4 address that may not be reached can be written in IPv6 in
// many ways:
//
//   - IPv4-mapped, ::ffff:a.b.c.d: it is the IPv4 address, and that alone;
//   - IPv4-compatible, ::a.b.c.d (RFC 4291 section 2.5.5.1);
//   - IPv4-translated, ::ffff:0:a.b.c.d (RFC 2765);
//   - NAT64, 64:ff9b::a.b.c.d (RFC 6052), and 64:ff9b:1::/48 (RFC 8215);
//   - 6to4, 2002:aabb:ccdd::/48 (RFC 3056);
//   - Teredo, 2001:0::/32, with the server's and the client's (RFC 4380);
//   - ISATAP, with any network in front (RFC 5214 section 6.1).
//
// An address with a zone has no forms: what it means depends on the machine.
func appendForms(f []netip.Addr, a netip.Addr) []netip.Addr {
	if !a.IsValid() || a.Zone() != "" {
		return f
	}
	a = a.Unmap()
	f = append(f, a)
	if a.Is4() {
		return f
	}
	b := a.As16()
	switch {
	case net6to4.Contains(a):
		f = append(f, ipv4(b[2], b[3], b[4], b[5]))
	case netTeredo.Contains(a):
		f = append(f, ipv4(b[4], b[5], b[6], b[7]), ipv4(^b[12], ^b[13], ^b[14], ^b[15]))
	case netNAT64.Contains(a), netSIIT.Contains(a), netCompat.Contains(a) && !a.IsUnspecified() && !a.IsLoopback():
		f = append(f, ipv4(b[12], b[13], b[14], b[15]))
	case netNAT64Own.Contains(a):
		f = appendNAT64Own(f, b)
	}
	if isISATAP(b) {
		f = append(f, ipv4(b[12], b[13], b[14], b[15]))
	}
	return f
}

// appendNAT64Own appends the readings of an address in 64:ff9b:1::/48. Its
// operator may have chosen a prefix of 48, 56, 64 or 96 bits; RFC 6052 section
// 2.2 says where the IPv4 address then is, that bits 64 to 71 are zero, and that
// zeros follow it. A reading counts when they do.
func appendNAT64Own(f []netip.Addr, b [16]byte) []netip.Addr {
	if b[8] == 0 && zero(b[11:]) {
		f = append(f, ipv4(b[6], b[7], b[9], b[10]))
	}
	if b[8] == 0 && zero(b[12:]) {
		f = append(f, ipv4(b[7], b[9], b[10], b[11]))
	}
	if b[8] == 0 && zero(b[13:]) {
		f = append(f, ipv4(b[9], b[10], b[11], b[12]))
	}
	if !zero(b[12:]) {
		f = append(f, ipv4(b[12], b[13], b[14], b[15]))
	}
	return f
}

// isISATAP reports whether the interface identifier is that of ISATAP, with
// either value of the bit that says that the IPv4 address is unique.
func isISATAP(b [16]byte) bool {
	return b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

func ipv4(a, b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, d}) }

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
