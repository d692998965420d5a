package main

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Lengths of the headers of a frame, in bytes.
const (
	ethernetHeader = 14
	ipHeader       = 20
	udpHeader      = 8
	headers        = ethernetHeader + ipHeader + udpHeader
)

// frame is a packet of UDP over IPv4 as it goes over the cable, from the generator to the
// relay, with its checksums.
func frame(from, to netip.AddrPort, payload []byte) []byte {
	b := make([]byte, headers, headers+len(payload))
	copy(b, relayMAC[:])
	copy(b[6:], generatorMAC[:])
	binary.BigEndian.PutUint16(b[12:], 0x0800) // IPv4

	ip := b[ethernetHeader:headers]
	ip[0] = 0x45 // version 4, 5 words of header
	binary.BigEndian.PutUint16(ip[2:], uint16(ipHeader+udpHeader+len(payload)))
	ip[6] = 0x40 // do not fragment
	ip[8] = 64   // time to live
	ip[9] = 17   // UDP
	src, dst := from.Addr().As4(), to.Addr().As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum(0, ip[:ipHeader])))

	udp := ip[ipHeader:]
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(udpHeader+len(payload)))
	pseudo := sum(uint32(17+udpHeader+len(payload)), ip[12:ipHeader])
	check := ^fold(sum(sum(pseudo, udp), payload))
	if check == 0 {
		check = 0xffff // 0 says that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(udp[6:], check)
	return append(b, payload...)
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
			all[i] = frame(address(f.client), f.server, channelData(payload(i, size)))
		} else {
			all[i] = frame(address(f.peer), f.relayed, payload(i, size))
		}
	}
	return all
}

func address(c *net.UDPConn) netip.AddrPort {
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
