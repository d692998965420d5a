package kernel

import (
	"encoding/binary"
	"net/netip"
	"time"

	"switchboard/relay/natlab/nat"
)

// isError is whether an ICMP packet of IPv4 tells of another packet, which it then
// contains (RFC 792): unreachable, time exceeded, parameter problem.
func isError(kind byte) bool { return kind == 3 || kind == 11 || kind == 12 }

const icmpHeader = 8

// about is the packet of UDP or TCP that an ICMP error tells of.
func (p ipPacket) about() (ipPacket, bool) {
	if p.is6() || p.proto != icmp4 || len(p.b) < p.at+icmpHeader || !isError(p.b[p.at]) {
		return ipPacket{}, false
	}
	q, err := parseIP(p.b[p.at+icmpHeader:], true)
	if err != nil || q.is6() || q.proto != nat.UDP && q.proto != nat.TCP || len(q.b) < q.at+4 {
		return q, false
	}
	return q, true
}

// errorIn translates an ICMP error from outside (RFC 5508 section 4.1): it is about a packet
// that went out, as it looked outside. Those for hosts behind NAT64 are not translated.
func errorIn(t *nat.Table, now time.Time, p ipPacket) bool {
	q, ok := p.about()
	if !ok {
		return false
	}
	h := q.header()
	back, v := t.Inbound(now, nat.Packet{Proto: h.Proto, Src: h.Dst, Dst: h.Src})
	if v.Dropped() || back.Dst.Addr().Is6() {
		return false
	}
	src, _ := p.addresses()
	p.tell(q, back.Dst, h.Dst, src, back.Dst.Addr())
	return true
}

// errorOut translates one from inside: it is about a packet of UDP that came in. The reset
// that it looks like to the table keeps that from beginning a session.
func errorOut(t *nat.Table, now time.Time, p ipPacket) bool {
	q, ok := p.about()
	if !ok || q.proto != nat.UDP {
		return false
	}
	h := q.header()
	seen, v := t.Outbound(now, nat.Packet{Proto: nat.UDP, Flags: nat.RST, Src: h.Dst, Dst: h.Src})
	if v != nat.Forward {
		return false
	}
	_, dst := p.addresses()
	p.tell(q, h.Src, seen.Src, seen.Src.Addr(), dst)
	return true
}

// tell has an error with addresses of its own tell of q with other endpoints, in place.
func (p ipPacket) tell(q ipPacket, qsrc, qdst netip.AddrPort, src, dst netip.Addr) {
	q.rewrite(qsrc, qdst)
	p.setAddresses(src, dst)
	icmp := p.b[p.at:]
	icmp[2], icmp[3] = 0, 0
	binary.BigEndian.PutUint16(icmp[2:], ^fold(sum(0, icmp)))
}
