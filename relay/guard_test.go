package relay

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
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

func testGuard() *guard {
	c := Default()
	c.Secrets = []Secret{{ID: "one", Key: make(Key, 16)}}
	m := newMetrics()
	at := addresses{four: []relayAddress{{public: netip.MustParseAddr("5.5.5.5"), bind: netip.MustParseAddr("5.5.5.5"), ports: newPorts(c.Ports)}}}
	g := &guard{
		realm: c.Realm, keys: &keyring{realm: c.Realm, secrets: c.Secrets, maxCall: time.Hour}, nonces: newNonces(c.Secrets),
		library: make(map[transport]*libraryNonce), table: newTable(c.Quotas, c.Limits, m), policy: newPolicy(c, at.all(), at.inUse),
		addresses: at, alternates: newAlternates(nil), strangers: newStrangers(c.Limits, m), metrics: m,
	}
	for _, over := range transports {
		g.library[over] = newLibraryNonce()
		g.library[over].nonce, g.library[over].since = []byte("nonce-of-the-library-24.")[:nonceSize], time.Now()
	}
	return g
}

func BenchmarkGuardChannelData(b *testing.B) {
	g := testGuard()
	c := client{addr: netip.MustParseAddrPort("1.1.1.1:5000"), over: overUDP}
	g.table.byClient[c] = &allocation{client: c}
	packet := append([]byte{0x40, 0, 0, 172}, make([]byte, 172)...)
	b.ReportAllocs()
	for b.Loop() {
		if !datagram(packet) {
			b.Fatal("shape")
		}
		if pass, _ := g.incoming(packet, c); !pass {
			b.Fatal("dropped")
		}
	}
}
