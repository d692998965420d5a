package main

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Lengths of the headers of a frame, in bytes.
const (
	ethernetHeader = 14
	ipv4Header     = 20
	ipv6Header     = 40
	udpHeader      = 8
)

// headers is the length of all of them.
func (f *family) headers() int {
	if f == ipv6 {
		return ethernetHeader + ipv6Header + udpHeader
	}
	return ethernetHeader + ipv4Header + udpHeader
}

// frame is a packet of UDP as it goes over the cable, from the generator to the relay,
// with its checksums.
func frame(from, to netip.AddrPort, payload []byte) []byte {
	b := make([]byte, ethernetHeader, ethernetHeader+ipv6Header+udpHeader+len(payload))
	copy(b, relayMAC[:])
	copy(b[6:], generatorMAC[:])
	length := udpHeader + len(payload)
	if from.Addr().Is4() {
		binary.BigEndian.PutUint16(b[12:], 0x0800)
		b = append(b, ipv4Of(from.Addr(), to.Addr(), length)...)
	} else {
		binary.BigEndian.PutUint16(b[12:], 0x86dd)
		b = append(b, ipv6Of(from.Addr(), to.Addr(), length)...)
	}
	udp := make([]byte, udpHeader)
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
	pseudo := sum(sum(uint32(17+length), from.Addr().AsSlice()), to.Addr().AsSlice())
	check := ^fold(sum(sum(pseudo, udp), payload))
	if check == 0 {
		check = 0xffff // 0 says that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(udp[6:], check)
	return append(append(b, udp...), payload...)
}

func ipv4Of(from, to netip.Addr, length int) []byte {
	ip := make([]byte, ipv4Header)
	ip[0] = 0x45 // version 4, 5 words of header
	binary.BigEndian.PutUint16(ip[2:], uint16(ipv4Header+length))
	ip[6] = 0x40 // do not fragment
	ip[8] = 64   // time to live
	ip[9] = 17   // UDP
	copy(ip[12:], from.AsSlice())
	copy(ip[16:], to.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum(0, ip)))
	return ip
}

func ipv6Of(from, to netip.Addr, length int) []byte {
	ip := make([]byte, ipv6Header)
	ip[0] = 0x60 // version 6
	binary.BigEndian.PutUint16(ip[4:], uint16(length))
	ip[6] = 17 // UDP
	ip[7] = 64 // hop limit
	copy(ip[8:], from.AsSlice())
	copy(ip[24:], to.AsSlice())
	return ip
}

// sum adds up the 16-bit words of b, the last one padded with 0.
func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// direction is which way packets are relayed.
type direction string

const (
	up   direction = "up"   // from clients to peers
	down direction = "down" // from peers to clients
)

// frames are those that the generator sends, one for each flow.
func frames(flows []*flow, d direction, size int) [][]byte {
	all := make([][]byte, len(flows))
	for i, f := range flows {
		if d == up {
			all[i] = frame(address(f.client), f.server, sent(d, i, size))
		} else {
			all[i] = frame(address(f.peer), f.relayed, sent(d, i, size))
		}
	}
	return all
}

func address(c *net.UDPConn) netip.AddrPort {
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
