package offload

import (
	"encoding/binary"
	"net/netip"
)

// frame is an Ethernet frame of one UDP datagram, as the program is tried with. It is made
// from nothing, as a kernel would.
type frame struct {
	from, to netip.AddrPort
	payload  []byte
	hops     uint8
	class    uint8 // DSCP and ECN
	summed   bool  // it has a checksum of UDP, as it must over IPv6
}

// data is ChannelData (RFC 8656 section 12.4), without padding.
func data(channel uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, channel)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(payload))), payload...)
}

const ethernetHeader = 14

// bytes are the frame's. Its Ethernet addresses are 0.
func (f frame) bytes() []byte {
	udp := binary.BigEndian.AppendUint16(nil, f.from.Port())
	udp = binary.BigEndian.AppendUint16(udp, f.to.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(f.payload)))
	udp = append(append(udp, 0, 0), f.payload...)
	src, dst := f.from.Addr().AsSlice(), f.to.Addr().AsSlice()
	if f.summed {
		pseudo := append(append([]byte{0, 17}, src...), dst...)
		c := checksum(binary.BigEndian.AppendUint16(pseudo, uint16(len(udp))), udp)
		if c == 0 {
			c = 0xffff
		}
		binary.BigEndian.PutUint16(udp[6:], c)
	}
	b := make([]byte, ethernetHeader)
	if !f.from.Addr().Is4() {
		binary.BigEndian.PutUint16(b[12:], 0x86dd)
		b = append(b, 0x60|f.class>>4, f.class<<4, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(udp)))
		return append(append(append(append(b, 17, f.hops), src...), dst...), udp...)
	}
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	ip := []byte{0x45, f.class}
	ip = binary.BigEndian.AppendUint16(ip, uint16(20+len(udp)))
	ip = append(append(append(ip, 0, 0, 0x40, 0, f.hops, 17, 0, 0), src...), dst...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	return append(append(b, ip...), udp...)
}

// checksum is that of the Internet (RFC 1071), of parts all but the last of which are of
// even length.
func checksum(parts ...[]byte) uint16 {
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
	return ^uint16(s)
}
