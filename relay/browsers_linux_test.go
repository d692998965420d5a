package relay_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"switchboard/relay"
)

// These tests have real browsers talk to the relay: calls between two connections of
// one page, which may use relays alone, with sound, a picture and messages.

func TestBrowsers(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			s := start(t, forBrowsers)
			b := k.open(t, s.trust(t))
			for _, test := range []struct{ name, left, right string }{
				{"UDP", "udp", "udp"},
				{"TCP", "tcp", "tcp"},
				{"TLS", "tls", "tls"},
				{"UDP on one side, TLS on the other", "udp", "tls"},
			} {
				t.Run(test.name, func(t *testing.T) { callInBrowser(t, b, leg{s, test.left}, leg{s, test.right}) })
			}
			t.Run("two relays", func(t *testing.T) {
				callInBrowser(t, b, leg{s, "udp"}, leg{start(t, forBrowsers), "udp"})
			})
			t.Run("expired credentials", func(t *testing.T) {
				as := mint(t, "call", "alice", time.Now().Add(-2*time.Hour))
				refusedInBrowser(t, b, leg{s, "udp"}, as, 401)
				s.until(t, "credentials_total", "expired", 1)
			})
			t.Run("a relay that drains", func(t *testing.T) {
				drained := leg{startDrained(t), "udp"}
				refusedInBrowser(t, b, drained, mint(t, "call", "alice", time.Now()), k.insufficient)
				drained.until(t, "refusals_total", "draining", 1)
			})
			t.Run("a relay that drains and knows another", func(t *testing.T) {
				drained := leg{startDrained(t, netip.MustParseAddrPort(s.address("udp"))), "udp"}
				as := mint(t, "call", "alice", time.Now())
				if !k.redirected {
					refusedInBrowser(t, b, drained, as, 300)
					return
				}
				got := b.do(t, order{Do: "gather", Left: drained.ice(t, as)})
				if len(got.Candidates) == 0 || s.count(t, "allocations", "udp") == 0 {
					t.Errorf("the browser is not sent to the other relay: %+v", got)
				}
				b.do(t, order{Do: "hangup"})
			})
		})
	}
}

// forBrowsers lets a browser have an allocation for each network of a machine with many,
// and send all messages at once: by default some of them would be dropped, and sent again.
func forBrowsers(c *relay.Config) {
	c.Quotas.AllocationsPerUser = 1000
	c.Bandwidth = relay.Bandwidth{PerAllocation: 1000, PerUser: 1000}
}

// startDrained starts a relay that takes nobody any more, and sends clients to others.
func startDrained(t *testing.T, others ...netip.AddrPort) *server {
	t.Helper()
	s := start(t, func(c *relay.Config) { c.AlternateServers = others })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// leg is the relay of one side of a call, and the transport to it.
type leg struct {
	*server
	over string
}

// ice is the leg as a page is told of it. Over TLS the relay has a name, without which
// Firefox does not use it.
func (l leg) ice(t *testing.T, as credentials) []iceServer {
	t.Helper()
	url := "turn:" + l.address(l.over) + "?transport=" + l.over
	if l.over == "tls" {
		url = "turns:localhost:" + l.port(t, l.over) + "?transport=tcp"
	}
	return []iceServer{{URLs: url, Username: as.username, Credential: as.password}}
}

// port is where the relay listens for a transport.
func (s *server) port(t *testing.T, over string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.address(over))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// callInBrowser places a call, checks on both sides and in the relays that it goes where
// it should, and hangs up.
func callInBrowser(t *testing.T, b *browser, legs ...leg) {
	t.Helper()
	type traffic struct{ up, down float64 }
	relayed := func(l leg) traffic {
		return traffic{l.count(t, "bytes_total", "up"), l.count(t, "bytes_total", "down")}
	}
	before := []traffic{relayed(legs[0]), relayed(legs[1])}
	now := time.Now()
	got := b.do(t, order{Do: "call", Left: legs[0].ice(t, mint(t, "call", "alice", now)), Right: legs[1].ice(t, mint(t, "call", "bob", now))})
	if got.Echoed != 1000 {
		t.Errorf("%d of 1000 messages came back", got.Echoed)
	}
	for i, l := range legs {
		was, is := got.Sides[i].First, got.Sides[i].Last
		if is.Local.Type != "relay" || is.Local.RelayProtocol != l.over || is.Remote.Type != "relay" {
			t.Errorf("side %d uses %+v to %+v, want a relay over %s", i, is.Local, is.Remote, l.over)
		}
		if is.Audio <= was.Audio || is.Video <= was.Video || is.Frames <= was.Frames {
			t.Errorf("side %d has %+v, and had %+v", i, is, was)
		}
		// The messages alone are half a megabyte each way.
		after := relayed(l)
		if up, down := after.up-before[i].up, after.down-before[i].down; up < 500_000 || down < 500_000 {
			t.Errorf("the relay of side %d carried %v bytes up, %v bytes down", i, up, down)
		}
		t.Logf("side %d over %s: %d bytes of sound, %d of pictures, %d frames", i, l.over, is.Audio, is.Video, is.Frames)
		l.holds(t, legs)
		l.refusesNothing(t)
	}
	b.do(t, order{Do: "hangup"})
	for _, l := range legs {
		eventually(t, "the browser has ended its allocations", func() bool { return l.Allocations() == 0 })
	}
}

// holds checks that there are allocations over the transports of the legs to this relay,
// and over no other.
func (l leg) holds(t *testing.T, legs []leg) {
	t.Helper()
	for _, over := range everyTransport {
		want := 0
		for _, other := range legs {
			if other == (leg{l.server, over}) {
				want++
			}
		}
		// A browser has one for each network of the machine.
		if n := int(l.count(t, "allocations", over)); n < want || want == 0 && n > 0 {
			t.Errorf("%d allocations over %s, for %d sides", n, over, want)
		}
	}
}

// refusesNothing checks that the relay has understood and done all that it was asked for.
// It may have been asked a second time to end an allocation, when its answer was late.
func (l leg) refusesNothing(t *testing.T) {
	t.Helper()
	refused := l.count(t, "refusals_total", "") - l.count(t, "refusals_total", "mismatch")
	if refused != 0 || l.count(t, "denied_peers_total", "") != 0 {
		t.Errorf("the relay refused %v requests", refused)
	}
	for _, reason := range []string{"shape", "too_large", "method", "fingerprint", "unauthenticated", "limited", "bandwidth"} {
		if n := l.count(t, "drops_total", reason); n != 0 {
			t.Errorf("the relay dropped %v messages: %s", n, reason)
		}
	}
}

// refusedInBrowser checks that the page gets no relay, and hears why.
func refusedInBrowser(t *testing.T, b *browser, l leg, as credentials, code int) {
	t.Helper()
	got := b.do(t, order{Do: "gather", Left: l.ice(t, as)})
	if len(got.Candidates) != 0 {
		t.Errorf("candidates %v", got.Candidates)
	}
	if !slices.ContainsFunc(got.Errors, func(e candidateError) bool { return e.Code == code }) {
		t.Errorf("errors %+v, want %d", got.Errors, code)
	}
	b.do(t, order{Do: "hangup"})
}
