package kernel_test

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/kernel"
)

func prefixes(all ...string) []netip.Prefix {
	var got []netip.Prefix
	for _, p := range all {
		got = append(got, netip.MustParsePrefix(p))
	}
	return got
}

// TestDoubleNAT has a client behind its own NAT and a carrier's: the stricter of each
// behaviour is seen.
func TestDoubleNAT(t *testing.T) {
	t.Parallel()
	top := behind(natlab.RouterSpec{NAT: &natlab.PortRestricted})
	top.Networks["carrier"] = natlab.NetworkSpec{Prefixes: prefixes("100.64.0.0/10")}
	top.Routers["cgn"] = natlab.RouterSpec{Inside: "carrier", Outside: natlab.Internet, NAT: &natlab.NAT{Mapping: natlab.AddressDependent}}
	top.Routers["box"] = natlab.RouterSpec{Inside: "home", Outside: "carrier", NAT: &natlab.PortRestricted}
	l := build(t, top, kernel.Options{})
	p, err := l.Verify(t.Context(), "alice", false)
	if err != nil || p.Ours.External.Addr() != l.External("cgn")[0] {
		t.Errorf("%+v, %v", p, err)
	}
	for router, how := range map[string]string{"box": "nft", "cgn": "tun"} {
		if got := l.Describe(router); got.How != how {
			t.Errorf("%s is %+v, want %s", router, got, how)
		}
	}
}

func TestNAT64(t *testing.T) {
	t.Parallel()
	top := behind(natlab.RouterSpec{NAT: &natlab.NAT{NAT64: true, Hairpin: true, Filtering: natlab.AddressDependent}})
	l := build(t, top, kernel.Options{})
	if a := l.Addrs("alice"); len(a) != 1 || !a[0].Is6() {
		t.Fatalf("addresses %v", a)
	}
	if _, err := l.Verify(t.Context(), "alice", false); err != nil {
		t.Error(err)
	}
	serves(t, l, "server", ":80")
	if !connects(t, l, "alice", "server:80") {
		t.Error("no connection to the server by its name")
	}
	if got, want := tells(t, l, "alice", "getent", "ahosts", "server"), "64:ff9b::c612:"; !strings.HasPrefix(got, want) {
		t.Errorf("the server's name leads to %s, want %s", got, want)
	}
}

// TestIPv6 has answers come in and nothing else, or nothing at all.
func TestIPv6(t *testing.T) {
	t.Parallel()
	for _, how := range []kernel.Routers{kernel.NFTRouters, kernel.TUNRouters} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			l := build(t, street(map[string]natlab.RouterSpec{
				"alice": {NAT: &natlab.PortRestricted, IPv6: natlab.IPv6Routed},
				"bob":   {NAT: &natlab.PortRestricted, IPv6: natlab.IPv6Blackhole},
				"carol": {NAT: &natlab.PortRestricted},
			}), kernel.Options{Routers: how})
			six := func(host string, port uint16) netip.AddrPort {
				t.Helper()
				for _, a := range l.Addrs(host) {
					if a.Is6() {
						return netip.AddrPortFrom(a, port)
					}
				}
				t.Fatalf("host %s has no IPv6 among %v", host, l.Addrs(host))
				return netip.AddrPort{}
			}
			alice, bob := packets(t, l, "alice", ":5000"), packets(t, l, "bob", ":5000")
			lost(t, bob, alice, six("alice", 5000), "not asked for")
			lost(t, alice, bob, six("bob", 5000), "into the hole")
			if len(l.Addrs("carol")) != 1 {
				t.Errorf("addresses %v without IPv6", l.Addrs("carol"))
			}
		})
	}
}

// TestRouted has networks that nothing is translated for, one inside the other.
func TestRouted(t *testing.T) {
	t.Parallel()
	top := behind(natlab.RouterSpec{IPv6: natlab.IPv6Routed})
	top.Networks["lab"] = natlab.NetworkSpec{}
	top.Routers["inner"] = natlab.RouterSpec{Inside: "lab", Outside: "home", IPv6: natlab.IPv6Routed}
	top.Hosts["carol"] = natlab.HostSpec{Networks: []string{"lab"}}
	l := build(t, top, kernel.Options{})
	carol, bob, alice, server := packets(t, l, "carol", ":5000"), packets(t, l, "bob", ":5000"), packets(t, l, "alice", ":5000"), packets(t, l, "server", ":5000")
	for fam := range 2 {
		to := func(host string) netip.AddrPort { return netip.AddrPortFrom(l.Addrs(host)[fam], 5000) }
		if from := passes(t, carol, server, to("server"), "out"); from != to("carol") {
			t.Errorf("seen at %v, want %v", from, to("carol"))
		}
		passes(t, server, carol, to("carol"), "back")
		passes(t, carol, alice, to("alice"), "to the middle")
		passes(t, alice, carol, to("carol"), "back from the middle")
		if fam == 0 {
			passes(t, bob, carol, to("carol"), "from elsewhere")
		} else {
			lost(t, bob, carol, to("carol"), "from elsewhere, not asked for")
		}
	}
}

// TestSameNAT has two clients behind one NAT, which hairpins or not.
func TestSameNAT(t *testing.T) {
	t.Parallel()
	for _, hairpin := range []bool{true, false} {
		top := behind(natlab.RouterSpec{NAT: &natlab.NAT{Filtering: natlab.AddressAndPortDependent, Hairpin: hairpin}})
		top.Hosts["carol"] = natlab.HostSpec{Networks: []string{"home"}}
		l := build(t, top, kernel.Options{})
		alice, carol, server := packets(t, l, "alice", ":5000"), packets(t, l, "carol", ":5000"), packets(t, l, "server", ":6000")
		a := passes(t, alice, server, at(l, "server", 6000), "alice")
		c := passes(t, carol, server, at(l, "server", 6000), "carol")
		if a == c || a.Addr() != c.Addr() {
			t.Fatalf("alice is at %v, carol at %v", a, c)
		}
		lost(t, alice, carol, c, "opens")
		if hairpin {
			if from := passes(t, carol, alice, a, "round"); from != c {
				t.Errorf("from %v, want %v", from, c)
			}
			passes(t, alice, carol, c, "and round")
		} else {
			lost(t, carol, alice, a, "round")
		}
		passes(t, alice, carol, at(l, "carol", 5000), "directly")
	}
}

// TestLost has packets get lost in silence that nobody is there for, as in the internet.
func TestLost(t *testing.T) {
	t.Parallel()
	l := build(t, behind(natlab.RouterSpec{NAT: &natlab.PortRestricted}), kernel.Options{})
	for _, host := range []string{"alice", "server"} {
		c := packets(t, l, host, ":0")
		for _, to := range []string{"10.1.2.3:5000", "192.168.2.2:5000", "198.18.77.7:5000", "8.8.8.8:53"} {
			for range 3 {
				if _, err := c.WriteTo([]byte("hello?"), addr(to)); err != nil {
					t.Errorf("%s to %s: %v", host, to, err)
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	top := behind(natlab.RouterSpec{NAT: &natlab.PortRestricted})
	top.Networks["home"] = natlab.NetworkSpec{Link: natlab.Link{Delay: 40 * time.Millisecond}}
	l := build(t, top, kernel.Options{})
	server, alice := packets(t, l, "server", ":6000"), packets(t, l, "alice", ":5000")
	passes(t, alice, server, at(l, "server", 6000), "finds its way")
	start := time.Now()
	seen := passes(t, alice, server, at(l, "server", 6000), "there")
	passes(t, server, alice, seen, "and back")
	if took := time.Since(start); took < 80*time.Millisecond || took > time.Second {
		t.Errorf("there and back in %v, want 80ms and little more", took)
	}
	if _, err := l.Verify(t.Context(), "alice", false); err != nil {
		t.Error(err)
	}
}

// TestLossAndRate has a host send and receive over links that lose and are slow, of each
// kind.
func TestLossAndRate(t *testing.T) {
	t.Parallel()
	const rate = 1_000_000
	for name, tt := range map[string]struct {
		link natlab.Link
		how  string
	}{
		"loss":          {natlab.Link{Loss: 0.3}, "kernel"},
		"loss and rate": {natlab.Link{Loss: 0.3, Rate: rate}, "kernel"},
		"runs and rate": {natlab.Link{Loss: 0.3, Burst: 2, Rate: rate}, "user"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := behind(natlab.RouterSpec{NAT: &natlab.FullCone})
			top.Networks["home"] = natlab.NetworkSpec{Link: tt.link}
			l := build(t, top, kernel.Options{})
			if got := l.DescribeLink("home"); got.How != tt.how {
				t.Errorf("link is %+v, want %s", got, tt.how)
			}
			server, alice := packets(t, l, "server", ":6000"), packets(t, l, "alice", ":5000")
			stream(t, alice, server, at(l, "server", 6000), tt.link)
			stream(t, server, alice, netip.AddrPortFrom(l.External("box")[0], 5000), tt.link)
		})
	}
}

// stream sends packets just above a link's rate, and looks at what arrives.
func stream(t *testing.T, from, to net.PacketConn, at netip.AddrPort, link natlab.Link) {
	t.Helper()
	start := time.Now()
	const sent, size = 300, 1000
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		for i := range sent {
			say(t, from, at, strings.Repeat("x", size))
			if i%10 == 9 { // what the queue has room for
				time.Sleep(80 * time.Millisecond)
			}
		}
	})
	got := 0
	for ; ; got++ {
		if word, _ := hear(t, to, 500*time.Millisecond); word == "" {
			break
		}
	}
	took := time.Since(start) - 500*time.Millisecond
	if got < sent*50/100 || got > sent*90/100 {
		t.Errorf("%d of %d arrived, want 70 of 100", got, sent)
	}
	if link.Rate == 0 {
		return
	}
	if least := time.Duration(float64(got*(size+28)*8) / float64(link.Rate) * float64(time.Second)); took < least*8/10 {
		t.Errorf("%d bytes in %v, want no less than %v", got*size, took, least)
	}
}

// TestFragments has packets pass that are larger than what a network carries at once.
func TestFragments(t *testing.T) {
	t.Parallel()
	for _, how := range []kernel.Routers{kernel.NFTRouters, kernel.TUNRouters} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			l := build(t, behind(natlab.RouterSpec{NAT: &natlab.PortRestricted}), kernel.Options{Routers: how})
			alice, server := packets(t, l, "alice", ":5000"), packets(t, l, "server", ":6000")
			large := strings.Repeat("large ", 1000)
			passes(t, server, alice, passes(t, alice, server, at(l, "server", 6000), large), large)
		})
	}
}
