package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"switchboard/relay/natlab/nat"
)

// ipPacket is an IPv4 or IPv6 packet in its bytes (RFC 791, RFC 8200).
type ipPacket struct {
	b     []byte
	proto nat.Proto
	at    int // where the header of proto begins
}

// Why a packet is none that can be translated.
var (
	errMalformed = errors.New("malformed")
	errFragment  = errors.New("fragment")
	errOptions   = errors.New("extension header")
)

const (
	header4 = 20
	header6 = 40

	icmp4 nat.Proto = 1
	icmp6 nat.Proto = 58
)

// parse looks at a packet's headers. It is cut to the length that it names; ports of TCP and
// UDP are there.
func parse(b []byte) (ipPacket, error) {
	p, err := parseIP(b, false)
	if err != nil {
		return p, err
	}
	switch n := len(p.b) - p.at; {
	case p.proto == nat.UDP && n < 8, p.proto == nat.TCP && n < 20:
		return p, errMalformed
	}
	return p, nil
}

// parseIP looks at the IP header alone. Where the packet is one in an ICMP error, it may be
// cut short.
func parseIP(b []byte, short bool) (ipPacket, error) {
	p := ipPacket{b: b}
	var length int
	switch {
	case len(b) >= header4 && b[0]>>4 == 4:
		p.proto, p.at = nat.Proto(b[9]), int(b[0]&15)*4
		length = int(binary.BigEndian.Uint16(b[2:]))
		if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 { // more fragments, or an offset
			return p, errFragment
		}
	case len(b) >= header6 && b[0]>>4 == 6:
		p.proto, p.at = nat.Proto(b[6]), header6
		length = header6 + int(binary.BigEndian.Uint16(b[4:]))
	default:
		return p, errMalformed
	}
	switch {
	case p.at < header4 || length < p.at || p.at > len(b) || length > len(b) && !short:
		return p, errMalformed
	case p.is6() && p.proto != nat.UDP && p.proto != nat.TCP && p.proto != icmp6:
		return p, errOptions
	}
	p.b = b[:min(length, len(b))]
	return p, nil
}

func (p ipPacket) is6() bool { return p.b[0]>>4 == 6 }

// addresses are where the packet comes from and goes to.
func (p ipPacket) addresses() (src, dst netip.Addr) {
	if p.is6() {
		return netip.AddrFrom16([16]byte(p.b[8:24])), netip.AddrFrom16([16]byte(p.b[24:40]))
	}
	return netip.AddrFrom4([4]byte(p.b[12:16])), netip.AddrFrom4([4]byte(p.b[16:20]))
}

// header is what a NAT looks at. The packet must be one of TCP or UDP, with its ports.
func (p ipPacket) header() nat.Packet {
	src, dst := p.addresses()
	h := nat.Packet{
		Proto: p.proto,
		Src:   netip.AddrPortFrom(src, binary.BigEndian.Uint16(p.b[p.at:])),
		Dst:   netip.AddrPortFrom(dst, binary.BigEndian.Uint16(p.b[p.at+2:])),
	}
	if p.proto == nat.TCP && len(p.b) > p.at+13 {
		h.Flags = nat.Flags(p.b[p.at+13])
	}
	return h
}

// rewrite returns the packet with other endpoints, in place unless the family changes (RFC
// 7915). Both have to be of one family.
func (p ipPacket) rewrite(src, dst netip.AddrPort) ipPacket {
	was := p.pseudo()
	if src.Addr().Is6() != p.is6() {
		p = p.otherFamily()
	}
	p.setAddresses(src.Addr(), dst.Addr())
	binary.BigEndian.PutUint16(p.b[p.at:], src.Port())
	binary.BigEndian.PutUint16(p.b[p.at+2:], dst.Port())
	p.fix(was)
	return p
}

// otherFamily returns the packet with a header of the other family, whose addresses are
// not set.
func (p ipPacket) otherFamily() ipPacket {
	payload := p.b[p.at:]
	if p.is6() {
		q := ipPacket{b: make([]byte, header4+len(payload)), proto: p.proto, at: header4}
		q.b[0] = 4<<4 | header4/4
		q.b[1] = p.b[0]<<4 | p.b[1]>>4 // traffic class
		binary.BigEndian.PutUint16(q.b[2:], uint16(len(q.b)))
		q.b[6] = 0x40 // don't fragment: RFC 7915 section 5.1 wants it for packets of full size
		q.b[8], q.b[9] = p.b[7], byte(p.proto)
		copy(q.b[header4:], payload)
		return q
	}
	q := ipPacket{b: make([]byte, header6+len(payload)), proto: p.proto, at: header6}
	q.b[0] = 6<<4 | p.b[1]>>4
	q.b[1] = p.b[1] << 4
	binary.BigEndian.PutUint16(q.b[4:], uint16(len(payload)))
	q.b[6], q.b[7] = byte(p.proto), p.b[8]
	copy(q.b[header6:], payload)
	return q
}

// setAddresses leaves the checksum of what is inside as it is.
func (p ipPacket) setAddresses(src, dst netip.Addr) {
	if p.is6() {
		s, d := src.As16(), dst.As16()
		copy(p.b[8:], s[:])
		copy(p.b[24:], d[:])
		return
	}
	s, d := src.As4(), dst.As4()
	copy(p.b[12:], s[:])
	copy(p.b[16:], d[:])
	p.b[10], p.b[11] = 0, 0
	binary.BigEndian.PutUint16(p.b[10:], ^fold(sum(0, p.b[:p.at])))
}

// pseudo is the sum of all that a translation changes and the checksum of TCP and UDP
// covers: addresses and ports.
func (p ipPacket) pseudo() uint32 {
	if p.is6() {
		return sum(sum(0, p.b[8:40]), p.b[p.at:p.at+4])
	}
	return sum(sum(0, p.b[12:20]), p.b[p.at:p.at+4])
}

// fix brings the checksum of TCP or UDP up to date, given what pseudo was (RFC 1624). A
// packet that was cut short may be without one.
func (p ipPacket) fix(was uint32) {
	at := p.at + 6
	if p.proto == nat.TCP {
		at = p.at + 16
	}
	if len(p.b) < at+2 {
		return
	}
	old := binary.BigEndian.Uint16(p.b[at:])
	if p.proto == nat.UDP && old == 0 {
		if p.is6() { // it must have one (RFC 8200 section 8.1)
			p.sumUDP()
		}
		return
	}
	s := ^fold(uint32(^old) + uint32(^fold(was)) + p.pseudo())
	if p.proto == nat.UDP && s == 0 {
		s = 0xffff
	}
	binary.BigEndian.PutUint16(p.b[at:], s)
}

// sumUDP gives a packet of IPv6 its checksum.
func (p ipPacket) sumUDP() {
	udp := p.b[p.at:]
	s := ^fold(sum(sum(uint32(len(udp))+uint32(nat.UDP), p.b[8:40]), udp))
	if s == 0 {
		s = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], s)
}

// sum adds b to a sum of 16-bit words. It does not overflow for less than 64 KiB.
func sum(s uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

// fold makes a sum one's complement (RFC 1071).
func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
