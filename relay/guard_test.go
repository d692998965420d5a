package relay

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
)

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10)
		one, two := netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("1.1.1.2")
		taken := 0
		for l.has(one) && l.take(one) {
			taken++
		}
		if taken != 20 || l.take(one) {
			t.Errorf("%d at once, want twice the rate", taken)
		}
		if !l.take(two) || !l.take(netip.MustParseAddr("::ffff:1.1.1.2")) {
			t.Error("another source is limited, too")
		}
		time.Sleep(time.Second)
		for taken = 0; l.take(one); taken++ {
		}
		if taken != 10 {
			t.Errorf("%d after a second, want 10", taken)
		}
		for range 20 {
			l.take(netip.MustParseAddr("2a00:1:2:300::1"))
		}
		if l.take(netip.MustParseAddr("2a00:1:2:3ff::2")) {
			t.Error("addresses of one household are not one source")
		}
		if !l.take(netip.MustParseAddr("2a00:1:2:400::1")) {
			t.Error("two households are one source")
		}
	})
}

// Memory is bounded whoever asks, and who comes when all is full shares.
func TestLimiterForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10)
		address := func(i int) netip.Addr {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], 0x0b000000+uint32(i))
			return netip.AddrFrom4(b)
		}
		for i := range maxSources + 20 {
			if !l.take(address(i)) {
				t.Fatalf("source %d has no first answer", i)
			}
		}
		if l.take(address(maxSources+21)) || l.has(address(maxSources+21)) {
			t.Error("who comes when all is full does not share")
		}
		if !l.take(address(0)) {
			t.Error("who was there before is limited")
		}
		time.Sleep(2 * time.Second)
		if l.take(address(maxSources + 21)); len(l.sources) > 10 {
			t.Errorf("%d sources are remembered", len(l.sources))
		}
	})
}

func TestRoutes(t *testing.T) {
	var r routes
	now := time.Now()
	at := netip.MustParseAddrPort("1.1.1.1:5000")
	if r.has(at) {
		t.Error("has before anything")
	}
	r.add(at, now)
	if !r.has(at) || r.has(netip.MustParseAddrPort("1.1.1.1:5001")) {
		t.Error("not what was added")
	}
	r.add(netip.MustParseAddrPort("1.1.1.2:5000"), now.Add(routesAlive+1))
	if !r.has(at) {
		t.Error("forgotten after one generation")
	}
	r.add(netip.MustParseAddrPort("1.1.1.2:5000"), now.Add(2*routesAlive+2))
	if r.has(at) {
		t.Error("remembered after two")
	}
	for i := range 4 * maxRoutes {
		r.add(netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, byte(i >> 16), byte(i >> 8), byte(i)}), 1), now.Add(2*routesAlive+2))
	}
	if n := len(r.now) + len(r.old); n > 2*maxRoutes {
		t.Errorf("%d are remembered", n)
	}
}

func testGuard() *guard {
	c := Default()
	m := newMetrics()
	at := addresses{four: relayAddress{public: netip.MustParseAddr("5.5.5.5"), bind: netip.MustParseAddr("5.5.5.5")}}
	free := newPorts(c.Ports)
	return &guard{
		keys: &keyring{realm: c.Realm, maxCall: time.Hour}, table: newTable(c.Quotas, 0, m), policy: newPolicy(c, at.all(), free.inUse),
		addresses: at, answers: newLimiter(1000), metrics: m,
	}
}

// FuzzGuard checks that what the guard lets through is one message, of which
// the library will find the same length and kind.
func FuzzGuard(f *testing.F) {
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw, true)
	f.Add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), stun.NewUsername("u"), stun.NewRealm("r"), stun.NewNonce("n"), stun.NewShortTermIntegrity("p")).Raw, false)
	f.Add([]byte{0x40, 0, 0xff, 0xfc, 0, 0, 0, 0, 0}, true)
	f.Add([]byte{0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0}, true)
	f.Add([]byte{0x00, 0x16, 0, 0, 0x21, 0x12, 0xa4, 0x42}, true)
	g := testGuard()
	f.Fuzz(func(t *testing.T, b []byte, known bool) {
		c := client{addr: netip.MustParseAddrPort("1.1.1.1:5000"), over: overUDP}
		if known {
			c.over = overTCP
			g.table.byClient[c] = &allocation{client: c}
		}
		n, err := frameLength(b)
		if err == nil && n != 0 && (n < channelHeader || n%4 != 0 || n > stunHeader+1<<16) {
			t.Fatalf("length %d", n)
		}
		if (err != nil || n == 0) && datagramShaped(b) {
			t.Fatal("a datagram, and not a frame")
		}
		if !datagramShaped(b) {
			return
		}
		before := bytes.Clone(b)
		pass, answer := g.incoming(b, c)
		if pass && answer != nil {
			t.Error("passed and answered")
		}
		if pass && !isData(b) && before[1] != 0x16 {
			m := stun.Message{Raw: before}
			if err := m.Decode(); err != nil || m.Type.Class != stun.ClassRequest || len(before) != stunHeader+int(m.Length) {
				t.Errorf("passed: %v, %v", m.Type, err)
			}
		}
		if answer != nil && !hasIntegrity(answer) {
			t.Error("answered without integrity")
		}
	})
}

func BenchmarkGuardChannelData(b *testing.B) {
	g := testGuard()
	c := client{addr: netip.MustParseAddrPort("1.1.1.1:5000"), over: overUDP}
	g.table.byClient[c] = &allocation{client: c}
	packet := append([]byte{0x40, 0, 0, 172}, make([]byte, 172)...)
	b.ReportAllocs()
	for b.Loop() {
		if !datagramShaped(packet) {
			b.Fatal("shape")
		}
		if pass, _ := g.incoming(packet, c); !pass {
			b.Fatal("dropped")
		}
	}
}
