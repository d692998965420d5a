package offload

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// model says what the program must do with a frame, from what the RFCs say of it and without
// any of the program's ways of doing it: it makes all anew, and takes nothing from what was
// there but what must stay.
type model struct {
	port  uint16
	flows []modelFlow
}

type modelFlow struct {
	ends Ends
	over [perFlow]bool
	mtu  [perFlow]int
}

// datagram is a frame of UDP that is whole and plain.
type datagram struct {
	from, to netip.AddrPort
	ip       []byte // header
	header   []byte // of UDP
	payload  []byte
}

// relay returns what a frame becomes, or false where it must be left alone. Why is set where
// the program counts that.
func (m model) relay(b []byte) (out []byte, why Left, relayed bool) {
	d, ok := read(b)
	if !ok {
		return nil, "", false
	}
	way, payload, channel := down, d.payload, uint16(0)
	if d.to.Port() == m.port {
		if channel, payload, ok = dataOf(payload); !ok {
			return nil, "", false
		}
		way = up
	}
	i := slices.IndexFunc(m.flows, func(f modelFlow) bool {
		if way == up {
			return f.ends.Client == d.from && f.ends.Listener == d.to && f.ends.Channel == channel
		}
		return f.ends.Peer == d.from && f.ends.Relay == d.to
	})
	if i < 0 {
		return nil, "", false
	}
	f := m.flows[i]
	from, to, sent := f.ends.Relay, f.ends.Peer, payload
	if way == down {
		from, to, sent = f.ends.Listener, f.ends.Client, data(f.ends.Channel, payload)
	}
	checksum := binary.BigEndian.Uint16(d.header[6:])
	switch {
	case f.over[way]:
		return nil, LeftEnded, false
	case len(d.ip)+8+len(sent) > f.mtu[way], len(payload) > 1596:
		return nil, LeftLong, false
	case d.hops() <= 1:
		return nil, "", false
	case checksum == 0 && !d.from.Addr().Is4():
		return nil, "", false
	case checksum != 0 && remainder(binary.BigEndian.AppendUint16(nil, checksum)) == remainder(d.pseudo()):
		return nil, LeftUnsummed, false
	}
	return append(slices.Clone(b[:ethernetHeader]), d.sentOn(from, to, sent)...), "", true
}

// read reads a frame.
func read(b []byte) (d datagram, ok bool) {
	if len(b) < ethernetHeader || [6]byte(b) != ([6]byte{}) { // the interface's address is 0
		return d, false
	}
	kind, ip := binary.BigEndian.Uint16(b[12:]), b[ethernetHeader:]
	var from, to, rest []byte
	switch {
	case kind == 0x0800 && len(ip) >= 20:
		total := int(binary.BigEndian.Uint16(ip[2:]))
		fragmented := binary.BigEndian.Uint16(ip[6:])&0x3fff != 0
		if ip[0] != 0x45 || ip[9] != 17 || fragmented || total < 20 || total > len(ip) {
			return d, false
		}
		d.ip, from, to, rest = ip[:20], ip[12:16], ip[16:20], ip[20:total]
	case kind == 0x86dd && len(ip) >= 40:
		total := 40 + int(binary.BigEndian.Uint16(ip[4:]))
		if ip[0]>>4 != 6 || ip[6] != 17 || total > len(ip) {
			return d, false
		}
		d.ip, from, to, rest = ip[:40], ip[8:24], ip[24:40], ip[40:total]
	default:
		return d, false
	}
	if len(rest) < 8 || int(binary.BigEndian.Uint16(rest[4:])) != len(rest) {
		return d, false
	}
	at := func(addr, port []byte) netip.AddrPort {
		a, _ := netip.AddrFromSlice(addr)
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
	}
	d.from, d.to = at(from, rest), at(to, rest[2:])
	d.header, d.payload = rest[:8], rest[8:]
	return d, true
}

// dataOf reads ChannelData that came over UDP (RFC 8656 section 12.5).
func dataOf(b []byte) (channel uint16, payload []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, false
	}
	channel, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
	b = b[4:]
	whole := n
	for whole%4 != 0 {
		whole++
	}
	if channel < 0x4000 || channel > 0x4fff || n > len(b) || len(b) > whole {
		return 0, nil, false
	}
	return channel, b[:n], true
}

func (d datagram) hops() uint8 {
	if len(d.ip) == 20 {
		return d.ip[8]
	}
	return d.ip[7]
}

// pseudo is what the checksum covers besides (RFC 768, RFC 8200 section 8.1).
func (d datagram) pseudo() []byte {
	b := append(d.from.Addr().AsSlice(), d.to.Addr().AsSlice()...)
	return binary.BigEndian.AppendUint16(append(b, 0, 17), uint16(len(d.header)+len(d.payload)))
}

// sentOn is the IP packet that goes on.
func (d datagram) sentOn(from, to netip.AddrPort, payload []byte) []byte {
	next := datagram{from: from, to: to, ip: slices.Clone(d.ip), payload: payload}
	next.header = binary.BigEndian.AppendUint16(nil, from.Port())
	next.header = binary.BigEndian.AppendUint16(next.header, to.Port())
	next.header = append(binary.BigEndian.AppendUint16(next.header, uint16(8+len(payload))), 0, 0)
	// What was wrong before is as wrong as it was.
	c := uint32(0)
	if sum := binary.BigEndian.Uint16(d.header[6:]); sum != 0 {
		before := remainder(d.pseudo(), d.header, d.payload)
		if c = (before + 0xffff - remainder(next.pseudo(), next.header, payload)) % 0xffff; c == 0 {
			c = 0xffff
		}
	}
	binary.BigEndian.PutUint16(next.header[6:], uint16(c))
	ip := next.ip
	if len(ip) == 20 {
		before := remainder(ip)
		binary.BigEndian.PutUint16(ip[2:], uint16(28+len(payload)))
		ip[8]--
		copy(ip[10:], []byte{0, 0})
		copy(ip[12:], from.Addr().AsSlice())
		copy(ip[16:], to.Addr().AsSlice())
		binary.BigEndian.PutUint16(ip[10:], uint16((before+0xffff-remainder(ip))%0xffff))
	} else {
		ip[1], ip[2], ip[3] = ip[1]&0xf0, 0, 0
		binary.BigEndian.PutUint16(ip[4:], uint16(8+len(payload)))
		ip[7]--
		copy(ip[8:], from.Addr().AsSlice())
		copy(ip[24:], to.Addr().AsSlice())
	}
	return slices.Concat(ip, next.header, payload)
}

// remainder is of the number that bytes are, by 65,535: what the Internet checksum is about
// (RFC 1071 section 1), 0 where it is right. All parts but the last are of even length.
func remainder(parts ...[]byte) uint32 {
	b := slices.Concat(parts...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	r := uint32(0)
	for _, x := range b {
		r = (r<<8 | uint32(x)) % 0xffff
	}
	return r
}
