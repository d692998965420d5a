package kernel

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"switchboard/relay/natlab/nat"
)

func endpoint(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// makePacket builds one with right checksums, the slow way.
func makePacket(proto nat.Proto, src, dst netip.AddrPort, payload []byte) []byte {
	var l4 []byte
	l4 = binary.BigEndian.AppendUint16(l4, src.Port())
	l4 = binary.BigEndian.AppendUint16(l4, dst.Port())
	at := 6
	if proto == nat.TCP {
		at = 16
		l4 = append(l4, 0, 0, 0, 1, 0, 0, 0, 2, 5<<4, byte(nat.SYN|nat.ACK), 1, 0, 0, 0, 0, 0)
	} else {
		l4 = binary.BigEndian.AppendUint16(l4, uint16(8+len(payload)))
		l4 = append(l4, 0, 0)
	}
	l4 = append(l4, payload...)
	binary.BigEndian.PutUint16(l4[at:], checksum(proto, src.Addr(), dst.Addr(), l4))
	if src.Addr().Is6() {
		b := []byte{6 << 4, 0, 0, 0}
		b = binary.BigEndian.AppendUint16(b, uint16(len(l4)))
		b = append(b, byte(proto), 64)
		b = append(append(b, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
		return append(b, l4...)
	}
	b := []byte{4<<4 | 5, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(l4)))
	b = append(b, 0, 0, 0x40, 0, 64, byte(proto), 0, 0)
	b = append(append(b, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], ones(b))
	return append(b, l4...)
}

// checksum is that of TCP or UDP (RFC 9293 section 3.1, RFC 8200 section 8.1), of a packet
// whose own is zero.
func checksum(proto nat.Proto, src, dst netip.Addr, l4 []byte) uint16 {
	b := append(src.AsSlice(), dst.AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(l4)))
	b = binary.BigEndian.AppendUint32(b, uint32(proto))
	s := ones(append(b, l4...))
	if proto == nat.UDP && s == 0 {
		return 0xffff
	}
	return s
}

// ones is the complement of the sum in ones' complement, word by word.
func ones(b []byte) uint16 {
	var s uint16
	for i := 0; i < len(b); i += 2 {
		w := uint16(b[i]) << 8
		if i+1 < len(b) {
			w |= uint16(b[i+1])
		}
		if s += w; s < w {
			s++
		}
	}
	return ^s
}

func TestRewrite(t *testing.T) {
	v4 := [2]netip.AddrPort{endpoint("192.168.1.2:5000"), endpoint("198.18.0.9:3478")}
	o4 := [2]netip.AddrPort{endpoint("198.18.0.2:61000"), endpoint("198.18.255.255:1")}
	v6 := [2]netip.AddrPort{endpoint("[2001:db8::2]:5000"), endpoint("[64:ff9b::c612:9]:3478")}
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, proto := range []nat.Proto{nat.UDP, nat.TCP} {
		for name, x := range map[string]struct{ from, to [2]netip.AddrPort }{
			"IPv4":            {v4, o4},
			"IPv6 to IPv4":    {v6, o4},
			"IPv4 to IPv6":    {o4, v6},
			"the same as was": {v4, v4},
		} {
			t.Run(proto.String()+"/"+name, func(t *testing.T) {
				for n := range 300 { // of every length, so that rare sums are among them
					payload := make([]byte, n)
					for i := range payload {
						payload[i] = byte(rnd.Uint32())
					}
					p, err := parse(makePacket(proto, x.from[0], x.from[1], payload))
					if err != nil {
						t.Fatal(err)
					}
					if h := p.header(); h.Src != x.from[0] || h.Dst != x.from[1] || h.Proto != proto {
						t.Fatalf("header %+v", h)
					}
					got, want := p.rewrite(x.to[0], x.to[1]).b, makePacket(proto, x.to[0], x.to[1], payload)
					if !bytes.Equal(got, want) {
						t.Fatalf("%d bytes: got\n%x, want\n%x", n, got, want)
					}
				}
			})
		}
	}
	t.Run("UDP without a checksum", func(t *testing.T) {
		b := makePacket(nat.UDP, o4[0], o4[1], []byte("hello"))
		b[26], b[27] = 0, 0
		p, err := parse(bytes.Clone(b))
		if err != nil {
			t.Fatal(err)
		}
		if q := p.rewrite(v4[0], v4[1]); q.b[26] != 0 || q.b[27] != 0 {
			t.Errorf("it got one: %x", q.b)
		}
		if p, err = parse(b); err != nil {
			t.Fatal(err)
		}
		if got, want := p.rewrite(v6[0], v6[1]).b, makePacket(nat.UDP, v6[0], v6[1], []byte("hello")); !bytes.Equal(got, want) {
			t.Errorf("got\n%x, want\n%x", got, want)
		}
	})
}

// TestErrors has a port unreachable find its way back through the NAT, in both directions.
func TestErrors(t *testing.T) {
	inside, external, remote := endpoint("192.168.1.2:5000"), netip.MustParseAddr("198.18.0.2"), endpoint("198.18.0.9:3478")
	table := nat.New(nat.NAT{Ports: nat.SequentialPorts}, external, rand.New(rand.NewPCG(1, 1)))
	now := time.Unix(0, 0)
	got, v := table.Outbound(now, nat.Packet{Proto: nat.UDP, Src: inside, Dst: remote})
	if v.Dropped() {
		t.Fatal(v)
	}
	seen := got.Src
	out := unreachable(remote.Addr(), external, makePacket(nat.UDP, seen, remote, []byte("hello")))
	p, err := parse(out)
	if err != nil || !errorIn(table, now, p) {
		t.Fatalf("an error from outside is not translated: %v", err)
	}
	if want := unreachable(remote.Addr(), inside.Addr(), makePacket(nat.UDP, inside, remote, []byte("hello"))); !bytes.Equal(p.b, want) {
		t.Errorf("from outside: got\n%x, want\n%x", p.b, want)
	}
	if p, err = parse(unreachable(inside.Addr(), remote.Addr(), makePacket(nat.UDP, remote, inside, []byte("hello")))); err != nil || !errorOut(table, now, p) {
		t.Fatalf("an error from inside is not translated: %v", err)
	}
	if want := unreachable(external, remote.Addr(), makePacket(nat.UDP, remote, seen, []byte("hello"))); !bytes.Equal(p.b, want) {
		t.Errorf("from inside: got\n%x, want\n%x", p.b, want)
	}
	for name, b := range map[string][]byte{
		"about a mapping that is not there": unreachable(remote.Addr(), external, makePacket(nat.UDP, endpoint("198.18.0.2:9"), remote, nil)),
		"about nothing":                     unreachable(remote.Addr(), external, nil),
		"an echo":                           append(unreachable(remote.Addr(), external, nil)[:20], 8, 0, 0, 0),
	} {
		if p, err := parse(b); err == nil && errorIn(table, now, p) {
			t.Errorf("%s: translated", name)
		}
	}
	if table.Mappings() != 1 {
		t.Errorf("%d mappings, want 1", table.Mappings())
	}
}

// unreachable is an ICMP error about a packet (RFC 792).
func unreachable(src, dst netip.Addr, about []byte) []byte {
	icmp := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, about...)
	binary.BigEndian.PutUint16(icmp[2:], ones(icmp))
	b := []byte{4<<4 | 5, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(icmp)))
	b = append(b, 0, 0, 0, 0, 64, byte(icmp4), 0, 0)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], ones(b))
	return append(b, icmp...)
}

// FuzzTranslate has anything go through a NAT in both directions: what comes out is a packet
// of the same kind, with what it carried.
func FuzzTranslate(f *testing.F) {
	a, b := endpoint("192.168.1.2:5000"), endpoint("198.18.0.9:3478")
	f.Add(makePacket(nat.UDP, a, b, []byte("hello")))
	f.Add(makePacket(nat.TCP, a, b, []byte("hello")))
	f.Add(makePacket(nat.UDP, endpoint("[2001:db8::2]:5000"), endpoint("[64:ff9b::c612:9]:3478"), []byte("hello")))
	f.Add(unreachable(a.Addr(), b.Addr(), makePacket(nat.UDP, b, a, []byte("hello"))))
	f.Fuzz(func(t *testing.T, in []byte) {
		table := nat.New(nat.NAT{NAT64: true, Hairpin: true}, netip.MustParseAddr("198.18.0.2"), rand.New(rand.NewPCG(1, 1)))
		tr := &translator{table: table, drops: make(map[string]uint64)}
		was := bytes.Clone(in)
		_, out := tr.outbound(bytes.Clone(in))
		tr.inbound(bytes.Clone(in))
		new(fragments).add(bytes.Clone(in))
		if out == nil {
			return
		}
		p, err := parse(out)
		if err != nil {
			t.Fatalf("%x became %x: %v", was, out, err)
		}
		if q, err := parse(was); err != nil || q.proto != p.proto || q.proto != icmp4 && !bytes.Equal(tail(q), tail(p)) {
			t.Fatalf("%x became %x", was, out)
		}
	})
}

// tail is what no translation changes.
func tail(p ipPacket) []byte {
	if p.proto == nat.TCP {
		return p.b[p.at+18:]
	}
	return p.b[p.at+8:]
}
