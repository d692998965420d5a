package offload

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// again is how often the kernel runs the program in one go, each time with what the last
// one made of the packet: as often as there is headroom for the header that is put before
// it, and hops are left.
const again = 12

// BenchmarkProgram measures the program alone, in ns of the kernel's clock for one packet,
// of the fastest tenth of many runs, as others use the machine, too: what comes before and
// after, and the way out, are not in it.
func BenchmarkProgram(b *testing.B) {
	for _, w := range loops() {
		for _, size := range []int{172, 1200} {
			b.Run(fmt.Sprintf("hit/%v/%d", w, size), func(b *testing.B) { benchmarkHit(b, w, size, 0) })
		}
	}
	for _, w := range loops()[:2] {
		b.Run(fmt.Sprintf("metered/%v/172", w), func(b *testing.B) { benchmarkHit(b, w, 172, 125_000_000_000) })
	}
	for _, tt := range misses() {
		b.Run("miss/"+tt.name, func(b *testing.B) {
			p := newBench(b, twoFamilies...)
			measure(b, p.Path, tt.frame, 1000, actUnspec)
		})
	}
}

// loops are flows whose packets become such as are relayed again the same way: what a client
// sends goes to the very address that it was sent to, and holds what is ChannelData, too.
func loops() (all []way) {
	for _, e := range twoFamilies {
		e.Relay, e.Peer = e.Client, e.Listener
		all = append(all, way{e, true}, way{e, false})
	}
	return all
}

func benchmarkHit(b *testing.B, w way, size int, perSecond int64) {
	p := openFor(b, 1)
	var m Meters
	if perSecond > 0 {
		m = Meters{Own: p.Meter(perSecond), User: p.Meter(perSecond)}
		p.Bound(perSecond, func(_, _ *Meter) {})
	}
	f, err := p.install(w.Ends, [2]Meters{m, m}, [2]route{{1, mtu}, {1, mtu}})
	if err != nil {
		b.Fatal(err)
	}
	f.Extend(p.clock()+int64(time.Hour), true)
	payload := bytes.Repeat([]byte{0x80}, size)
	if w.up {
		for range again - 1 {
			payload = data(w.Channel, payload)
		}
	}
	measure(b, p, w.packet(payload).bytes(), again, actRedirect)
	for i := range perFlow {
		if t, this := p.traffic(f.way+uint32(i)), (i == up) == w.up; this != (t.Packets >= uint64(b.N*again)) {
			b.Fatalf("%d of %d were relayed", t.Packets, b.N*again)
		}
	}
}

// measure runs the program b.N times, each so often in the kernel.
func measure(b *testing.B, p *Path, frame []byte, repeat int, want uint32) {
	all := make([]time.Duration, b.N)
	for i := range all {
		action, took, err := p.program.Benchmark(frame, repeat, nil)
		if err != nil {
			b.Fatal(err)
		}
		if action != want {
			b.Fatalf("the program says %d", int32(action))
		}
		all[i] = took
	}
	slices.Sort(all)
	b.ReportMetric(0, "ns/op") // of system calls above all
	b.ReportMetric(float64(all[len(all)/10]), "ns/packet")
}

type miss struct {
	name  string
	frame []byte
}

// misses are packets of others, which the program should keep up as little as may be.
func misses() []miss {
	w := ways()[0]
	tcp := w.packet(make([]byte, 1400))
	tcp.protocol = 6
	ack := packet{from: w.Client, to: w.Listener, payload: make([]byte, 24), hops: 64, protocol: 6}
	arp := packet{from: w.Client, to: w.Listener, etherType: 0x0806}
	dns := packet{from: w.Client, to: w.Peer, payload: make([]byte, 100), hops: 64}
	short := packet{from: w.Client, to: w.Peer, hops: 64}
	stun := packet{from: w.Client, to: w.Listener, payload: make([]byte, 100), hops: 64}
	unbound := w.packet(make([]byte, 172))
	unbound.payload[1]++
	return []miss{
		{"TCP", tcp.bytes()}, {"short TCP", ack.bytes()}, {"ARP", arp.bytes()}, {"UDP", dns.bytes()}, {"short UDP", short.bytes()},
		{"STUN", stun.bytes()}, {"unbound", unbound.bytes()},
	}
}
