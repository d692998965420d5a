package offload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// twoFamilies are flows over IPv4 and IPv6.
var twoFamilies = trials(testPort)

// way is what packets of a flow are like that come one way.
type way struct {
	Ends
	up bool
}

func ways() (all []way) {
	for _, e := range twoFamilies {
		all = append(all, way{e, true}, way{e, false})
	}
	return all
}

func (w way) String() string {
	family, direction := "IPv6", "down"
	if w.is4() {
		family = "IPv4"
	}
	if w.up {
		direction = "up"
	}
	return family + " " + direction
}

func (w way) is4() bool { return w.Client.Addr().Is4() }

// header is the length of the IP header.
func (w way) header() int {
	if w.is4() {
		return 20
	}
	return 40
}

// packet is one with a payload, in ChannelData where it goes up, with padding.
func (w way) packet(payload []byte, padding ...byte) packet {
	if w.up {
		return packet{from: w.Client, to: w.Listener, payload: padded(w.Channel, payload, padding...), hops: 64}
	}
	return packet{from: w.Peer, to: w.Relay, payload: payload, hops: 64}
}

// relayed is what it becomes, as frame.go makes it.
func (w way) relayed(payload []byte) frame {
	if w.up {
		return frame{from: w.Relay, to: w.Peer, payload: payload, hops: 63, summed: true}
	}
	return frame{from: w.Listener, to: w.Client, payload: data(w.Channel, payload), hops: 63, summed: true}
}

// random are so many bytes.
func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func newRandom() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// each runs a test for each way.
func each(t *testing.T, test func(t *testing.T, b *bench, w way, r *rand.Rand)) {
	b := newBench(t, twoFamilies...)
	for _, w := range ways() {
		t.Run(w.String(), func(t *testing.T) { test(t, b, w, newRandom()) })
	}
}

// relays fails if a frame is not relayed, or not as it should be. One in 65,536 looks as if
// its checksum were unfinished.
func (b *bench) relays(t testing.TB, frame []byte) {
	t.Helper()
	if b.try(t, frame) {
		return
	}
	if _, why, _ := b.relay(frame); why != LeftUnsummed {
		t.Fatalf("%x is not relayed: %s", frame, why)
	}
}

// leaves fails if a frame is not left alone.
func (b *bench) leaves(t testing.TB, frame []byte) {
	t.Helper()
	if b.try(t, frame) {
		t.Fatalf("%x is relayed", frame)
	}
}

func TestEverySize(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		longest := mtu - w.header() - 8
		if !w.up {
			longest -= 4
		}
		for n := range 1472 + 1 {
			payload := random(r, n)
			p := w.packet(payload)
			if p.id = uint16(n); n > longest {
				b.leaves(t, p.bytes())
				continue
			}
			if !b.try(t, p.bytes()) {
				continue // it looks as if its checksum were unfinished, as one in 65,536 does
			}
			p.trailer = random(r, r.IntN(8))
			b.relays(t, p.bytes())
			p.trailer, p.summing = nil, wrong
			b.relays(t, p.bytes())
			if p.summing = unsummed; w.is4() {
				b.relays(t, p.bytes())
			}
			// Both models agree: this one knows the checksum of packets alone that are right.
			p = w.packet(payload)
			p.fragment = 0x4000
			if got, _, _ := b.relay(p.bytes()); !bytes.Equal(got, w.relayed(payload).bytes()) {
				t.Fatalf("the models disagree:\n%x\n%x", got, w.relayed(payload).bytes())
			}
		}
	})
}

// Packets of ever other flows, among which are those with addresses and ports that are
// nothing but ones or zeros.
func TestEveryAddress(t *testing.T) {
	r := newRandom()
	addr := func(n int) netip.Addr {
		b := random(r, n)
		if r.IntN(4) == 0 {
			b = bytes.Repeat([]byte{byte(0xff * r.IntN(2))}, n)
		}
		a, _ := netip.AddrFromSlice(b)
		return a
	}
	port := func() uint16 { return []uint16{uint16(r.Uint32()), uint16(r.Uint32()), 0, 0xffff}[r.IntN(4)] }
	var all []Ends
	var have []way
	for i := range 200 {
		n := 4 + 12*(i%2)
		e := Ends{
			Client: netip.AddrPortFrom(addr(n), port()), Listener: netip.AddrPortFrom(addr(n), testPort),
			Relay: netip.AddrPortFrom(addr(n), port()), Peer: netip.AddrPortFrom(addr(n), port()), Channel: 0x4000 + uint16(r.IntN(0x1000)),
		}
		if e.Relay.Port() == testPort {
			continue
		}
		all = append(all, e)
		have = append(have, way{e, true}, way{e, false})
	}
	b := newBench(t, all...)
	for _, w := range have {
		for range 20 {
			p := w.packet(random(r, r.IntN(60)))
			p.hops, p.class, p.id, p.label = 2+uint8(r.IntN(254)), uint8(r.Uint32()), uint16(r.Uint32()), uint32(r.IntN(1<<20))
			b.try(t, p.bytes())
			if w.is4() {
				p.summing = unsummed
				b.relays(t, p.bytes())
			}
		}
	}
}

// A checksum that comes out as 0 is sent as 0xffff, which is the same number and does not say
// that there is none (RFC 768).
func TestChecksumZero(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		for _, n := range []int{2, 3, 4, 5, 20, 21, 1000, 1001} {
			for range 20 {
				payload := random(r, n)
				clear(payload[:2])
				last := w.relayed(payload).bytes()
				c := binary.BigEndian.Uint16(last[ethernetHeader+w.header()+6:])
				binary.BigEndian.PutUint16(payload, c)
				last = w.relayed(payload).bytes()
				if c := binary.BigEndian.Uint16(last[ethernetHeader+w.header()+6:]); c != 0xffff {
					t.Fatalf("%#x", c)
				}
				sent := w.packet(payload)
				sent.fragment = 0x4000
				b.relays(t, sent.bytes())
				if got, _, _ := b.run(sent.bytes()); !bytes.Equal(got, last) {
					t.Fatalf("got  %x\nwant %x", got, last)
				}
				// And one that comes with 0xffff.
				clear(payload[:2])
				first := w.packet(payload).bytes()
				binary.BigEndian.PutUint16(payload, binary.BigEndian.Uint16(first[ethernetHeader+w.header()+6:]))
				first = w.packet(payload).bytes()
				if c := binary.BigEndian.Uint16(first[ethernetHeader+w.header()+6:]); c != 0xffff {
					t.Fatalf("%#x", c)
				}
				b.relays(t, first)
			}
		}
	})
}

func TestPadding(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		if !w.up {
			return
		}
		for n := range 70 {
			for padding := range 9 {
				for _, with := range [][]byte{make([]byte, padding), random(r, padding), bytes.Repeat([]byte{0xff}, padding)} {
					p := w.packet(random(r, n), with...)
					for _, p.trailer = range [][]byte{nil, random(r, 1), random(r, 7)} {
						for _, p.summing = range []summing{summed, wrong} {
							if relayed := b.try(t, p.bytes()); relayed != (padding <= -n&3) {
								t.Fatalf("%d bytes of payload, %d of padding: relayed %t", n, padding, relayed)
							}
						}
						if p.summing = unsummed; w.is4() {
							b.try(t, p.bytes())
						}
					}
				}
			}
		}
	})
}

// Ethernet pads frames to 60 bytes, and may pass on more than belongs to a packet.
func TestTrailer(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		for n := range 40 {
			p := w.packet(random(r, n))
			p.trailer = make([]byte, max(0, 60-len(p.bytes())))
			b.relays(t, p.bytes())
			for _, more := range []int{1, 2, 3, 4, 5, 46, 1000} {
				p.trailer = random(r, more)
				b.relays(t, p.bytes())
			}
		}
	})
}

func TestHeaderFields(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		for i := range 256 {
			p := w.packet(random(r, 20+i%2))
			p.class = uint8(i)
			b.relays(t, p.bytes())
			p.hops = uint8(i)
			if relayed := b.try(t, p.bytes()); relayed != (i > 1) {
				t.Fatalf("with %d hops left: relayed %t", i, relayed)
			}
		}
		for i := range 1000 {
			p := w.packet(random(r, 20+i%2))
			p.id, p.label, p.class = uint16(r.Uint32()), uint32(r.IntN(1<<20)), uint8(r.Uint32())
			for _, p.fragment = range []uint16{0, 0x4000, 0x8000, 0xc000} { // don't fragment, and the bit that is nobody's
				b.relays(t, p.bytes())
			}
		}
		for bit := range 20 {
			p := w.packet(nil)
			p.label = 1 << bit
			b.relays(t, p.bytes())
		}
	})
}

// What the header's checksum says is as right or wrong after as before.
func TestHeaderChecksum(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		if !w.is4() {
			return
		}
		for range 2000 {
			frame := w.packet(random(r, r.IntN(40))).bytes()
			binary.BigEndian.PutUint16(frame[ethernetHeader+10:], uint16(r.Uint32()))
			b.relays(t, frame)
		}
	})
}

func TestMTU(t *testing.T) {
	for _, most := range []int{68, 576, 1280, 1400, 1472, 1500, 1600, 1604, 1664, 1700, 3000} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
				for i, f := range b.installed {
					for j := range perFlow {
						b.ways[int(f.way)+j].route(route{1, most})
						b.model.flows[i].mtu[j] = most
					}
				}
				longest := most - w.header() - 8
				if !w.up {
					longest -= 4
				}
				for _, edge := range []int{longest, 1596} {
					for n := max(0, edge-6); n < edge+6; n++ {
						payload := random(r, n)
						want := n <= min(longest, 1596)
						if relayed := b.try(t, w.packet(payload).bytes()); relayed != want {
							t.Fatalf("%d bytes of payload: relayed %t", n, relayed)
						}
						if w.up { // padding and trailer do not go on
							p := w.packet(payload, make([]byte, -n&3)...)
							p.trailer = make([]byte, 20)
							if relayed := b.try(t, p.bytes()); relayed != want {
								t.Fatalf("%d bytes of payload, and padding: relayed %t", n, relayed)
							}
						}
					}
				}
			})
		})
	}
}
