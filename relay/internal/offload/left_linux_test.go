package offload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// counts are how many packets were left, but none that were never.
func (b *bench) counts(t testing.TB) map[Left]uint64 {
	t.Helper()
	all, err := b.Left()
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(all, func(_ Left, n uint64) bool { return n == 0 })
	return all
}

// mapped are the same addresses as addresses of IPv6 (RFC 4291 section 2.5.5.2).
func mapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
}

func TestBadPacketsAreLeft(t *testing.T) {
	only4 := func(w way) bool { return w.is4() }
	only6 := func(w way) bool { return !w.is4() }
	onlyUp := func(w way) bool { return w.up }
	tests := []struct {
		name  string
		ways  func(way) bool // nil for all
		spoil func(p *packet, w way)
		why   Left
	}{
		{name: "another interface's address", spoil: func(p *packet, _ way) { p.mac[5] = 2 }},
		{name: "broadcast", spoil: func(p *packet, _ way) { copy(p.mac[:], bytes.Repeat([]byte{0xff}, 6)) }},
		{name: "multicast", spoil: func(p *packet, _ way) { p.mac[0] = 1 }},
		{name: "ARP", spoil: func(p *packet, _ way) { p.etherType = 0x0806 }},
		{name: "a tag of a VLAN", spoil: func(p *packet, _ way) { p.etherType = 0x8100 }},
		{name: "a tag of a provider's VLAN", spoil: func(p *packet, _ way) { p.etherType = 0x88a8 }},
		{name: "PPPoE", spoil: func(p *packet, _ way) { p.etherType = 0x8864 }},
		{name: "a length instead of a type", spoil: func(p *packet, _ way) { p.etherType = 46 }},
		{name: "the other family's type", spoil: func(p *packet, w way) {
			if p.etherType = 0x0800; w.is4() {
				p.etherType = 0x86dd
			}
		}},
		{name: "version 0", spoil: func(p *packet, _ way) { p.version = 0x10 }}, // of which four bits are taken
		{name: "version 5", spoil: func(p *packet, _ way) { p.version = 5 }},
		{name: "the other family's version", spoil: func(p *packet, w way) { p.version = 6 - 2*uint8(w.header()/40) }},
		{name: "TCP", spoil: func(p *packet, _ way) { p.protocol = 6 }},
		{name: "UDP-Lite", spoil: func(p *packet, _ way) { p.protocol = 136 }},
		{name: "ICMP", spoil: func(p *packet, _ way) { p.protocol = 1 }},
		{name: "options", ways: only4, spoil: func(p *packet, _ way) { p.options = []byte{1, 1, 1, 0} }},
		{name: "40 bytes of options", ways: only4, spoil: func(p *packet, _ way) { p.options = make([]byte, 40) }},
		{name: "options that look like UDP", ways: only4, spoil: func(p *packet, _ way) {
			p.options = binary.BigEndian.AppendUint16(nil, p.from.Port())
			p.options = binary.BigEndian.AppendUint16(p.options, p.to.Port())
			p.options = binary.BigEndian.AppendUint16(p.options, uint16(16+len(p.payload)))
			p.options = append(p.options, 0, 0)
		}},
		{name: "the first fragment", ways: only4, spoil: func(p *packet, _ way) { p.fragment = 0x2000 }},
		{name: "a fragment in the middle", ways: only4, spoil: func(p *packet, _ way) { p.fragment = 0x2001 }},
		{name: "the last fragment", ways: only4, spoil: func(p *packet, _ way) { p.fragment = 0x0010 }},
		{name: "a last fragment that is far back", ways: only4, spoil: func(p *packet, _ way) { p.fragment = 0x1fff }},
		{name: "hop-by-hop options", ways: only6, spoil: func(p *packet, _ way) { p.extensions, p.extension = 0, []byte{17, 0, 1, 4, 0, 0, 0, 0} }},
		{name: "a fragment header", ways: only6, spoil: func(p *packet, _ way) { p.extensions, p.extension = 44, []byte{17, 0, 0, 1, 0, 0, 0, 1} }},
		{name: "an atomic fragment", ways: only6, spoil: func(p *packet, _ way) { p.extensions, p.extension = 44, []byte{17, 0, 0, 0, 0, 0, 0, 1} }},
		{name: "a routing header", ways: only6, spoil: func(p *packet, _ way) { p.extensions, p.extension = 43, []byte{17, 0, 4, 0, 0, 0, 0, 0} }},
		{name: "destination options", ways: only6, spoil: func(p *packet, _ way) { p.extensions, p.extension = 60, []byte{17, 0, 1, 4, 0, 0, 0, 0} }},
		{name: "IP says that it is longer", spoil: func(p *packet, _ way) { p.longerIP = 1 }},
		{name: "IP says that it is shorter", spoil: func(p *packet, _ way) { p.longerIP = -1 }},
		{name: "IP says that it is longer than the frame, as UDP does", spoil: func(p *packet, _ way) { p.longerIP, p.longerUDP = 4, 4 }},
		{name: "UDP says that it is longer", spoil: func(p *packet, _ way) { p.longerUDP = 1 }},
		{name: "UDP says that it is shorter", spoil: func(p *packet, _ way) { p.longerUDP = -1 }},
		{name: "UDP is shorter than IP", spoil: func(p *packet, _ way) { p.longerUDP = -4 }},
		{name: "UDP has no length", spoil: func(p *packet, _ way) { p.longerUDP = -8 - len(p.payload) }},
		{name: "UDP is shorter than its header", spoil: func(p *packet, _ way) { p.longerUDP = -1 - len(p.payload) }},
		{name: "IP is shorter than UDP's header", spoil: func(p *packet, _ way) { p.longerIP = -4 - len(p.payload) }},
		{name: "IP is shorter than its own header", spoil: func(p *packet, _ way) { p.longerIP = -9 - len(p.payload) }},
		{name: "IP is of no length, as where it is joined", spoil: func(p *packet, w way) {
			p.longerIP = -8 - len(p.payload)
			if w.is4() {
				p.longerIP -= 20
			}
		}},
		{name: "ChannelData is longer than UDP", ways: onlyUp, spoil: func(p *packet, _ way) { p.payload[3]++ }},
		{name: "ChannelData is much longer than UDP", ways: onlyUp, spoil: func(p *packet, _ way) { p.payload[2] = 0xff }},
		{name: "ChannelData is a whole word shorter than UDP", ways: onlyUp, spoil: func(p *packet, _ way) { p.payload[3] -= 4 }},
		{name: "ChannelData is padded too much", ways: onlyUp, spoil: func(p *packet, _ way) { p.payload = append(p.payload, 0) }},
		{name: "not even a header of ChannelData", ways: onlyUp, spoil: func(p *packet, _ way) { p.payload = p.payload[:3] }},
		{name: "nothing", ways: onlyUp, spoil: func(p *packet, _ way) { p.payload = nil }},
		{name: "STUN", ways: onlyUp, spoil: func(p *packet, _ way) { p.payload[0], p.payload[1] = 0, 1 }},
		{name: "a channel below all", ways: onlyUp, spoil: func(p *packet, _ way) { binary.BigEndian.PutUint16(p.payload, 0x3fff) }},
		{name: "a channel above all", ways: onlyUp, spoil: func(p *packet, _ way) { binary.BigEndian.PutUint16(p.payload, 0x5000) }},
		{name: "a channel of RFC 5766", ways: onlyUp, spoil: func(p *packet, _ way) { binary.BigEndian.PutUint16(p.payload, 0x7fff) }},
		{name: "RTP", ways: onlyUp, spoil: func(p *packet, _ way) { binary.BigEndian.PutUint16(p.payload, 0x8060) }},
		{name: "a channel that is not bound", ways: onlyUp, spoil: func(p *packet, _ way) { binary.BigEndian.PutUint16(p.payload, 0x4321) }},
		{name: "channel 0", ways: onlyUp, spoil: func(p *packet, _ way) { binary.BigEndian.PutUint16(p.payload, 0) }},
		{name: "from another port", spoil: func(p *packet, _ way) { p.from = netip.AddrPortFrom(p.from.Addr(), p.from.Port()^1) }},
		{name: "to another port", spoil: func(p *packet, _ way) { p.to = netip.AddrPortFrom(p.to.Addr(), p.to.Port()^1) }},
		{name: "from another address", spoil: func(p *packet, _ way) { p.from = netip.AddrPortFrom(p.from.Addr().Next(), p.from.Port()) }},
		{name: "to another address", spoil: func(p *packet, _ way) { p.to = netip.AddrPortFrom(p.to.Addr().Next(), p.to.Port()) }},
		{name: "back where it came from", spoil: func(p *packet, _ way) { p.from, p.to = p.to, p.from }},
		{name: "of IPv6 with the same addresses mapped", ways: only4, spoil: func(p *packet, _ way) { p.from, p.to = mapped(p.from), mapped(p.to) }},
		{name: "no hop is left", spoil: func(p *packet, _ way) { p.hops = 0 }},
		{name: "one hop is left", spoil: func(p *packet, _ way) { p.hops = 1 }},
		{name: "IPv6 without a checksum", ways: only6, spoil: func(p *packet, _ way) { p.summing = unsummed }},
		{name: "an unfinished checksum", spoil: func(p *packet, _ way) { p.summing = unfinished }, why: LeftUnsummed},
		{name: "too long", spoil: func(p *packet, w way) {
			p.payload = w.packet(make([]byte, mtu-w.header()-8+1)).payload
		}, why: LeftLong},
	}
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		for _, tt := range tests {
			if tt.ways != nil && !tt.ways(w) {
				continue
			}
			t.Run(tt.name, func(t *testing.T) {
				before := b.counts(t)
				p := w.packet(random(r, 20))
				b.relays(t, p.bytes())
				tt.spoil(&p, w)
				for _, p.trailer = range [][]byte{nil, make([]byte, 20)} {
					if p.trailer != nil && (p.longerIP > 0) {
						continue // it would be as long as it says
					}
					b.leaves(t, p.bytes())
					if tt.why != "" {
						before[tt.why]++
					}
				}
				if now := b.counts(t); !maps.Equal(now, before) {
					t.Errorf("counted %v, want %v", now, before)
				}
			})
		}
	})
}

// What is cut anywhere is left.
func TestTruncatedPacketsAreLeft(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		for _, n := range []int{0, 1, 2, 20, 200} {
			p := w.packet(random(r, n))
			whole := p.bytes()
			for cut := ethernetHeader; cut < len(whole); cut++ {
				b.leaves(t, whole[:cut])
			}
			for cut := range len(p.payload) { // UDP that is whole, and carries what is cut
				q := p
				if q.payload = p.payload[:cut]; w.up {
					b.leaves(t, q.bytes())
				}
			}
			b.relays(t, whole)
		}
	})
}

func TestChannelsAreLeft(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		if !w.up {
			return
		}
		p := w.packet(random(r, 12))
		for channel := range 1 << 16 {
			if channel%7 != 0 && channel>>12 != 4 && channel&0xfff != w.fff() {
				continue
			}
			binary.BigEndian.PutUint16(p.payload, uint16(channel))
			if relayed := b.try(t, p.bytes()); relayed != (channel == int(w.Channel)) {
				t.Fatalf("channel %#x: relayed %t", channel, relayed)
			}
		}
	})
}

func (w way) fff() int { return int(w.Channel) & 0xfff }

// A wrong checksum is not mended, whatever is wrong: who receives it must see it.
func TestWrongChecksumStaysWrong(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		at := ethernetHeader + w.header()
		for range 2000 {
			frame := w.packet(random(r, 1+r.IntN(40))).bytes()
			if r.IntN(2) == 0 {
				binary.BigEndian.PutUint16(frame[at+6:], uint16(1+r.IntN(0xffff)))
			} else {
				frame[len(frame)-1] ^= byte(1 + r.IntN(255))
			}
			in, _ := read(frame)
			right := remainder(in.pseudo(), in.header, in.payload) == 0
			if !b.try(t, frame) {
				continue // it looks unfinished
			}
			out, _, err := b.run(frame)
			if err != nil {
				t.Fatal(err)
			}
			if d, _ := read(out); (remainder(d.pseudo(), d.header, d.payload) == 0) != right {
				t.Fatalf("%x\nbecame %x", frame, out)
			}
		}
	})
}

func TestEndedFlowsAreLeft(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		this := down
		if w.up {
			this = up
		}
		at := 0
		if !w.is4() {
			at = 1
		}
		f, frame := b.installed[at], w.packet(random(r, 30)).bytes()
		for _, step := range []struct {
			name string
			do   func()
			over [perFlow]bool
		}{
			{"renewed", func() { f.Extend(b.clock()+1e12, true) }, [2]bool{}},
			{"the client must not hear", f.EndDown, [2]bool{down: true}},
			{"renewed, but the client must not hear", func() { f.Extend(b.clock()+1e12, false) }, [2]bool{down: true}},
			{"the client may hear again", func() { f.Extend(b.clock()+1e12, true) }, [2]bool{}},
			{"the time is over", func() { f.Extend(b.clock(), true) }, [2]bool{true, true}},
			{"the time was over long ago", func() { f.Extend(1, true) }, [2]bool{true, true}},
			{"a time that has not come", func() { f.Extend(1<<63-1, true) }, [2]bool{}},
			{"ended", f.End, [2]bool{true, true}},
			{"renewed once more", func() { f.Extend(b.clock()+1e12, true) }, [2]bool{}},
		} {
			step.do()
			b.model.flows[at].over = step.over
			before := b.counts(t)[LeftEnded]
			if relayed := b.try(t, frame); relayed == step.over[this] {
				t.Errorf("%s: relayed %t", step.name, relayed)
			} else if counted := b.counts(t)[LeftEnded]-before == 1; counted == relayed {
				t.Errorf("%s: counted %t", step.name, counted)
			}
		}
	})
}

// socketBuffer is struct __sk_buff of linux/bpf.h, as far as it can be given.
type socketBuffer struct {
	_       [80]byte
	Linear  uint32 // data_end: how much is not in pages
	_       [92]byte
	GSOSize uint32
	_       [12]byte
}

// Packets that were joined are left, as the kernel cannot change how they are taken apart.
func TestJoinedPacketsAreLeft(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		frame := w.packet(random(r, 100)).bytes()
		before := b.counts(t)[LeftJoined]
		o := ebpf.RunOptions{Data: frame, DataOut: make([]byte, 1000), Context: socketBuffer{GSOSize: 50}}
		action, err := b.program.Run(&o)
		if err != nil {
			t.Fatal(err)
		}
		if action != actUnspec || !bytes.Equal(o.DataOut, frame) {
			t.Errorf("got %d, %x", int32(action), o.DataOut)
		}
		if n := b.counts(t)[LeftJoined] - before; n != 1 {
			t.Errorf("counted %d times", n)
		}
	})
}

// A network card may leave the kernel any part of a packet in pages.
func TestPacketsInPages(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		headers := ethernetHeader + w.header() // which the kernel does not make in pages
		for _, n := range []int{0, 1, 5, 6, 100, 1001} {
			for _, trailer := range []int{0, 3} {
				for _, padding := range []int{0, -n & 3} {
					if !w.up {
						padding = 0
					}
					p := w.packet(random(r, n), random(r, padding)...)
					p.trailer = random(r, trailer)
					frame := p.bytes()
					want, _, ok := b.relay(frame)
					if !ok {
						t.Fatalf("%x is not relayed", frame)
					}
					for linear := headers; linear <= min(len(frame), 100); linear++ {
						o := ebpf.RunOptions{Data: frame, DataOut: make([]byte, 2000), Context: socketBuffer{Linear: uint32(linear)}}
						action, err := b.program.Run(&o)
						if errors.Is(err, unix.EINVAL) {
							t.Skip("the kernel, before 6.19, makes no such packets; make bpf-kernels tries them on a newer one")
						}
						if err != nil {
							t.Fatal(err)
						}
						if action != actRedirect || !bytes.Equal(o.DataOut, want) {
							t.Fatalf("%d of %d bytes are not in pages: %d\ngot  %x\nwant %x", linear, len(frame), int32(action), o.DataOut, want)
						}
					}
				}
			}
		}
	})
}

// complete is BPF_F_TEST_SKB_CHECKSUM_COMPLETE: the packet comes with the sum of all its
// bytes, as some network cards make it, and the kernel fails with EBADMSG where that is not
// right afterwards.
const complete = 1 << 2

// Where packets go on to a container, that sum goes with them, and who receives them would
// find it wrong.
func TestSumOfNetworkCardStaysRight(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		for range 2000 {
			p := w.packet(random(r, r.IntN(60)))
			p.hops, p.class, p.id, p.label = 2+uint8(r.IntN(254)), uint8(r.Uint32()), uint16(r.Uint32()), uint32(r.IntN(1<<20))
			if p.summing = summing(r.IntN(3)); p.summing == unsummed && !w.is4() {
				continue
			}
			o := ebpf.RunOptions{Data: p.bytes(), DataOut: make([]byte, 1000), Flags: complete}
			_, err := b.program.Run(&o)
			if errors.Is(err, unix.EINVAL) {
				t.Skip("the kernel, before 6.15, does not look")
			}
			if err != nil {
				t.Fatalf("%+v: %v", p, err)
			}
		}
	})
}
