package relay_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// prober asks a relay for peers.
type prober struct {
	*raw
	server *server
	next   uint16 // the next channel
}

// prober returns a client with an allocation of a family, 1 or 2.
func (s *server) prober(t *testing.T, f byte) *prober {
	t.Helper()
	r := s.newcomer(t, "udp")
	r.done(t, r.request(t, stun.MethodAllocate, udpRelay, family(f)))
	return &prober{raw: r, server: s, next: 0x4000}
}

// left counts the packets that the relay would send: those that it gave to the kernel.
func (p *prober) left(t *testing.T) float64 {
	t.Helper()
	return p.server.count(t, "packets_total", "up") + p.server.count(t, "drops_total", "send")
}

// probe asks for a peer in every way there is: for a permission, for a channel, and with
// data. It returns the codes of the answers, and whether data was relayed.
func (p *prober) probe(t *testing.T, addr netip.Addr) (permission, channelBind int, relayed bool) {
	t.Helper()
	to := wideWhereMapped{netip.AddrPortFrom(addr, 5000)}
	permission = codeOf(p.ask(t, p.request(t, stun.MethodCreatePermission, to)))
	channelBind = codeOf(p.ask(t, p.request(t, stun.MethodChannelBind, channel(p.next), to)))
	before := p.left(t)
	p.unanswered(t, sendIndication(to, attribute{stun.AttrData, []byte("data")}))
	p.unanswered(t, channelData(p.next, []byte("data")))
	p.next++
	if permission == 0 && channelBind == 0 {
		eventually(t, "data is relayed", func() bool { return p.left(t) != before })
	}
	return permission, channelBind, p.left(t) != before
}

// wideWhereMapped is an XOR-PEER-ADDRESS that is written as it is given, so that an
// IPv4-mapped address takes 16 bytes.
type wideWhereMapped struct{ at netip.AddrPort }

func (w wideWhereMapped) AddTo(m *stun.Message) error {
	if w.at.Addr().Is4() {
		return peer(w.at.String()).AddTo(m)
	}
	return wide(w.at).AddTo(m)
}

// Every range that is denied is, at both its ends and within, in every way to write it,
// in every way to ask for it; and what is just beside it is not. The relay is not in
// development, and its operator allows the networks in which IPv4 is embedded, so that
// nothing but the IPv4 address in them is judged. No packet leaves this machine: relay
// sockets are on loopback, from where the kernel sends nowhere else.
func TestEveryDeniedRangeIsRefused(t *testing.T) {
	t.Parallel()
	needsIPv6(t)
	s := conforming(t, func(c *relay.Config) {
		c.Development = false
		c.PublicAddresses = []netip.Addr{netip.MustParseAddr("5.5.5.5"), netip.MustParseAddr("2a00:5::5")}
		c.BindAddresses = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("::1")}
		c.Quotas.Permissions, c.Quotas.Channels = 1024, 1024
		for _, n := range []string{"2002::/16", "2001::/32", "64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "2a00::/16"} {
			c.Peers.Allow = append(c.Peers.Allow, netip.MustParsePrefix(n))
		}
		for bit := range 31 { // all of ::/96 but :: and ::1, which nobody can allow
			b := netip.IPv6Unspecified().As16()
			b[12+bit/8] = 0x80 >> (bit % 8)
			c.Peers.Allow = append(c.Peers.Allow, netip.PrefixFrom(netip.AddrFrom16(b), 97+bit))
		}
	})
	denied := func(t *testing.T, p *prober, a netip.Addr, of string) {
		t.Helper()
		permission, channelBind, relayed := p.probe(t, a)
		if own := a == netip.IPv6Loopback() || a == netip.MustParseAddr("127.0.0.2"); own && permission == 0 {
			permission = 403 // where relay sockets are there may be other allocations, at ports that are looked at later
		}
		if permission != 403 || channelBind != 403 || relayed {
			t.Errorf("%v, of %s: permission %d, channel %d, want 403; relayed %v", a, of, permission, channelBind, relayed)
		}
	}
	allowed := func(t *testing.T, p *prober, a netip.Addr, beside string) {
		t.Helper()
		if permission, channelBind, relayed := p.probe(t, a); permission != 0 || channelBind != 0 || !relayed {
			t.Errorf("%v, beside %s: permission %d, channel %d, want 0; relayed %v", a, beside, permission, channelBind, relayed)
		}
	}
	in := func(list []string, a netip.Addr) bool {
		return slices.ContainsFunc(list, func(n string) bool { return netip.MustParsePrefix(n).Contains(a) })
	}

	t.Run("plain", func(t *testing.T) {
		p := s.prober(t, 1)
		for _, n := range relay.DeniedIPv4 {
			all := relay.Ends(netip.MustParsePrefix(n))
			for _, a := range all {
				denied(t, p, a, n)
			}
			for _, a := range []netip.Addr{all[0].Prev(), all[1].Next()} {
				if a.IsValid() && !in(relay.DeniedIPv4, a) {
					allowed(t, p, a, n)
				}
			}
		}
		for _, a := range []string{"127.0.0.1", "169.254.169.254", "100.100.100.200", "192.168.1.1", "255.255.255.255"} {
			denied(t, p, netip.MustParseAddr(a), "those that attackers try first")
		}
	})
	for _, e := range relay.Embeddings {
		t.Run(e.Name(), func(t *testing.T) {
			f := byte(2)
			if e.In(netip.MustParseAddr("8.8.8.8").As4()).Is4In6() {
				f = 1
			}
			p := s.prober(t, f)
			for _, n := range relay.DeniedIPv4 {
				all := relay.Ends(netip.MustParsePrefix(n))
				for _, v4 := range all {
					denied(t, p, e.In(v4.As4()), n)
				}
				// An address in an operator's own NAT64 is judged in all its readings, so that
				// what is just beside a range may be denied for another of them.
				if strings.HasPrefix(e.Name(), "own NAT64") {
					continue
				}
				for _, v4 := range []netip.Addr{all[0].Prev(), all[1].Next()} {
					if v4.IsValid() && !in(relay.DeniedIPv4, v4) {
						allowed(t, p, e.In(v4.As4()), n)
					}
				}
			}
			allowed(t, p, e.In([4]byte{8, 8, 8, 8}), "nothing")
			denied(t, p, e.In([4]byte{127, 0, 0, 1}), "loopback")
			denied(t, p, e.In([4]byte{169, 254, 169, 254}), "metadata")
		})
	}
	t.Run("IPv6", func(t *testing.T) {
		strict := conforming(t, func(c *relay.Config) {
			c.Development = false
			c.PublicAddresses = []netip.Addr{netip.MustParseAddr("2a00:5::5")}
			c.BindAddresses = []netip.Addr{netip.MustParseAddr("::1")}
			c.Quotas.Permissions, c.Quotas.Channels = 1024, 1024
		})
		p := strict.prober(t, 2)
		for _, n := range relay.DeniedIPv6 {
			all := relay.Ends(netip.MustParsePrefix(n))
			for _, a := range all {
				denied(t, p, a, n)
			}
			for _, a := range []netip.Addr{all[0].Prev(), all[1].Next()} {
				if a.IsValid() && !in(relay.DeniedIPv6, a) && netip.MustParsePrefix("2000::/3").Contains(a) {
					allowed(t, p, a, n)
				}
			}
		}
	})
}
