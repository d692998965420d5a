package offload

import (
	"encoding/binary"
	"net/netip"
)

// packet is a frame of UDP as anybody might send it, right or wrong. What is nil or 0 is as
// it should be.
type packet struct {
	from, to netip.AddrPort
	payload  []byte
	hops     uint8
	class    uint8 // DSCP and ECN

	mac        [12]byte // to, from
	id         uint16   // of IPv4
	fragment   uint16   // flags and offset of IPv4
	label      uint32   // flow label of IPv6
	options    []byte   // of IPv4
	extension  []byte   // headers of IPv6; the first byte is the last one's next header
	extensions uint8    // the first one's number
	protocol   uint8
	version    uint8
	etherType  uint16
	summing    summing
	trailer    []byte // after the IP packet

	longerUDP, longerIP int // than they are, they say
}

// summing is how a packet's UDP checksum is made.
type summing int

const (
	summed     summing = iota
	unsummed           // there is none
	wrong              // one bit is wrong
	unfinished         // whoever sends it on should finish it
)

func (p packet) bytes() []byte {
	udp := binary.BigEndian.AppendUint16(nil, p.from.Port())
	udp = binary.BigEndian.AppendUint16(udp, p.to.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(p.payload)+p.longerUDP))
	udp = append(append(udp, 0, 0), p.payload...)
	if p.protocol == 0 {
		p.protocol = 17
	}
	src, dst := p.from.Addr().AsSlice(), p.to.Addr().AsSlice()
	pseudo := binary.BigEndian.AppendUint16(append(append([]byte{0, 17}, src...), dst...), uint16(len(udp)+p.longerUDP))
	switch p.summing {
	case summed, wrong:
		c := checksum(pseudo, udp)
		if p.summing == wrong {
			c ^= 0x0100
		}
		if c == 0 {
			c = 0xffff
		}
		binary.BigEndian.PutUint16(udp[6:], c)
	case unfinished:
		binary.BigEndian.PutUint16(udp[6:], ^checksum(pseudo))
	}
	b := append([]byte(nil), p.mac[:]...)
	if p.from.Addr().Is4() {
		b = append(p.typed(b, 0x0800, 4), p.ip4(len(udp))...)
	} else {
		b = append(p.typed(b, 0x86dd, 6), p.ip6(len(udp))...)
	}
	return append(append(b, udp...), p.trailer...)
}

// typed adds the type, and sees to the version.
func (p *packet) typed(b []byte, etherType uint16, version uint8) []byte {
	if p.etherType != 0 {
		etherType = p.etherType
	}
	if p.version == 0 {
		p.version = version
	}
	return binary.BigEndian.AppendUint16(b, etherType)
}

func (p packet) ip4(udp int) []byte {
	n := 20 + len(p.options)
	ip := []byte{p.version<<4 | uint8(n/4), p.class}
	ip = binary.BigEndian.AppendUint16(ip, uint16(n+udp+p.longerIP))
	ip = binary.BigEndian.AppendUint16(ip, p.id)
	ip = binary.BigEndian.AppendUint16(ip, p.fragment)
	ip = append(ip, p.hops, p.protocol, 0, 0)
	ip = append(append(append(ip, p.from.Addr().AsSlice()...), p.to.Addr().AsSlice()...), p.options...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	return ip
}

func (p packet) ip6(udp int) []byte {
	next := p.protocol
	if p.extension != nil {
		next = p.extensions
	}
	ip := binary.BigEndian.AppendUint32(nil, uint32(p.version)<<28|uint32(p.class)<<20|p.label)
	ip = binary.BigEndian.AppendUint16(ip, uint16(len(p.extension)+udp+p.longerIP))
	ip = append(ip, next, p.hops)
	return append(append(append(ip, p.from.Addr().AsSlice()...), p.to.Addr().AsSlice()...), p.extension...)
}

// padded is ChannelData with padding.
func padded(channel uint16, payload []byte, padding ...byte) []byte {
	return append(data(channel, payload), padding...)
}
