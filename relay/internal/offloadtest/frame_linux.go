package offloadtest

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Frame is a datagram of UDP as it is on the cable, in one IP packet.
type Frame struct {
	From, To     netip.AddrPort
	Payload      []byte
	Hops         uint8
	Class        uint8  // DSCP and ECN
	Label        uint32 // the flow label of IPv6
	DontFragment bool   // of IPv4
	ID           uint16
	NoSum        bool // the checksum of UDP is 0
}

const (
	udpHeader = 8
	protocol  = 17 // UDP
)

// Packet is the IP packet.
func (f Frame) Packet() []byte {
	udp := binary.BigEndian.AppendUint16(nil, f.From.Port())
	udp = binary.BigEndian.AppendUint16(udp, f.To.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(udpHeader+len(f.Payload)))
	udp = append(append(udp, 0, 0), f.Payload...)
	src, dst := f.From.Addr().AsSlice(), f.To.Addr().AsSlice()
	var ip []byte
	if f.From.Addr().Is4() {
		ip = binary.BigEndian.AppendUint16([]byte{0x45, f.Class}, uint16(20+len(udp)))
		ip = binary.BigEndian.AppendUint16(ip, f.ID)
		fragment := uint16(0)
		if f.DontFragment {
			fragment = 0x4000
		}
		ip = binary.BigEndian.AppendUint16(ip, fragment)
		ip = append(ip, f.Hops, protocol, 0, 0)
	} else {
		ip = binary.BigEndian.AppendUint16([]byte{0x60 | f.Class>>4, f.Class<<4 | byte(f.Label>>16), byte(f.Label >> 8), byte(f.Label)}, uint16(len(udp)))
		ip = append(ip, protocol, f.Hops)
	}
	ip = append(append(append(ip, src...), dst...), udp...)
	if !f.NoSum {
		SumUDP(ip)
	}
	SumIPv4(ip)
	return ip
}

// headerOf is how long the header of an IP packet is, with the extensions of IPv6.
func headerOf(ip []byte) int {
	if ip[0]>>4 == 4 {
		return int(ip[0]&15) * 4
	}
	n := 40
	for next := ip[6]; next != protocol && n+8 <= len(ip); {
		next, n = ip[n], n+8+int(ip[n+1])*8
	}
	return n
}

// SumIPv4 sets the checksum of the header, in a packet of IPv4.
func SumIPv4(ip []byte) {
	if ip[0]>>4 != 4 {
		return
	}
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip[:headerOf(ip)]))
}

// SumUDP sets the checksum of UDP.
func SumUDP(ip []byte) {
	udp := ip[headerOf(ip):]
	udp[6], udp[7] = 0, 0
	s := ^sum(pseudo(ip), udp)
	if s == 0 {
		s = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], s)
}

// pseudo is the header that counts for the checksum of UDP (RFC 768, RFC 8200 section 8.1).
func pseudo(ip []byte) []byte {
	from, to := 8, 40
	if ip[0]>>4 == 4 {
		from, to = 12, 20
	}
	udp := ip[headerOf(ip):]
	b := append([]byte{0, protocol}, ip[from:to]...)
	return binary.BigEndian.AppendUint16(b, uint16(len(udp)))
}

// sum is that of the Internet checksum, of parts all but the last of which are of even length
// (RFC 1071).
func sum(parts ...[]byte) uint16 {
	var s uint32
	for _, b := range parts {
		for ; len(b) > 1; b = b[2:] {
			s += uint32(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			s += uint32(b[0]) << 8
		}
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// ReadFrame reads an IP packet. What is not a whole datagram of UDP with right checksums is an
// error.
func ReadFrame(ip []byte) (f Frame, err error) {
	if len(ip) < 20 {
		return f, errors.New("too short")
	}
	var src, dst netip.Addr
	switch ip[0] >> 4 {
	case 4:
		if ip[9] != protocol || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 {
			return f, errors.New("no whole datagram of UDP")
		}
		n := int(binary.BigEndian.Uint16(ip[2:]))
		if n > len(ip) || headerOf(ip)+udpHeader > n {
			return f, errors.New("IPv4: length")
		}
		ip = ip[:n] // Ethernet fills up
		if sum(ip[:headerOf(ip)]) != 0xffff {
			return f, errors.New("IPv4: checksum")
		}
		src, dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
		f.Hops, f.Class, f.ID, f.DontFragment = ip[8], ip[1], binary.BigEndian.Uint16(ip[4:]), ip[6]&0x40 != 0
	case 6:
		if len(ip) < 48 || ip[6] != protocol {
			return f, errors.New("no whole datagram of UDP")
		}
		n := 40 + int(binary.BigEndian.Uint16(ip[4:]))
		if n > len(ip) || n < 40+udpHeader {
			return f, errors.New("IPv6: length")
		}
		ip = ip[:n]
		src, dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		f.Hops, f.Class, f.Label = ip[7], ip[0]<<4|ip[1]>>4, binary.BigEndian.Uint32(ip)&0xfffff
	default:
		return f, errors.New("no IP")
	}
	udp := ip[headerOf(ip):]
	f.From = netip.AddrPortFrom(src, binary.BigEndian.Uint16(udp))
	f.To = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(udp[2:]))
	f.Payload = udp[udpHeader:]
	f.NoSum = udp[6] == 0 && udp[7] == 0
	switch {
	case int(binary.BigEndian.Uint16(udp[4:])) != len(udp):
		return f, errors.New("UDP: length")
	case f.NoSum && src.Is6():
		return f, errors.New("UDP: no checksum over IPv6")
	case !f.NoSum && sum(pseudo(ip), udp) != 0xffff:
		return f, errors.New("UDP: checksum")
	}
	return f, nil
}
