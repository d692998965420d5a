package relay_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// end ends an allocation.
func (r *raw) end(t *testing.T) {
	t.Helper()
	if got := r.do(t, stun.MethodRefresh, attribute{stun.AttrLifetime, make([]byte, 4)}); got != 0 {
		t.Fatalf("end: %d", got)
	}
}

// A user who opens and ends allocations all the time is held up, and others are not.
func TestPaceOfAllocations(t *testing.T) {
	s := start(t, func(c *relay.Config) { c.Limits.AllocationsPerUserPerSecond = 1 })
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).greet(t)
	begin, open := time.Now(), 0
	for range 20 {
		switch got := r.do(t, stun.MethodAllocate, udpRelay); got {
		case 0:
			open++
			r.end(t)
		case 486:
		default:
			t.Fatalf("allocate: %d", got)
		}
	}
	if most := 5 + time.Since(begin).Seconds() + 1; open < 5 || float64(open) > most {
		t.Errorf("%d were opened, want 5 to %v", open, most)
	}
	if s.count(t, "refusals_total", "user_rate") != float64(20-open) {
		t.Error("not counted")
	}
	s.raw(t, "udp", mint(t, "call", "bob", time.Now())).allocated(t)
	eventually(t, "the user may again", func() bool { return r.do(t, stun.MethodAllocate, udpRelay) == 0 })
}

// An allocation that asks for ever more new peers scans; it may keep those that it has.
func TestPaceOfPeers(t *testing.T) {
	s := start(t, func(c *relay.Config) { c.Quotas.Permissions, c.Limits.NewPeersPerSecond = 1000, 1 })
	at := func(i int) peer { return peer(fmt.Sprintf("127.0.%d.%d:5000", i/200, i%200+1)) }
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	begin, got := time.Now(), 0
	for i := range 100 {
		if i%2 == 0 {
			got = r.do(t, stun.MethodCreatePermission, at(i))
		} else {
			got = r.do(t, stun.MethodChannelBind, channel(uint16(0x4000+i)), at(i))
		}
		if got != 0 {
			if most := 64 + time.Since(begin).Seconds() + 1; i < 64 || float64(i) > most {
				t.Errorf("%d were permitted, want 64 to %v", i, most)
			}
			break
		}
	}
	if got != 508 || s.count(t, "refusals_total", "peer_rate") != 1 {
		t.Errorf("too many: %d, want 508; counted %v", got, s.count(t, "refusals_total", "peer_rate"))
	}
	if got := r.do(t, stun.MethodCreatePermission, at(0), at(1), at(2)); got != 0 {
		t.Errorf("those that are permitted: %d", got)
	}
	if got := r.do(t, stun.MethodChannelBind, channel(0x5000), at(0)); got != 0 {
		t.Errorf("a channel to one that is permitted: %d", got)
	}
	var many []stun.Setter
	for i := range 10 {
		many = append(many, at(500+i))
	}
	if got := r.do(t, stun.MethodCreatePermission, many...); got != 508 {
		t.Errorf("many at once: %d, want 508", got)
	}
	eventually(t, "one more may be permitted", func() bool { return r.do(t, stun.MethodCreatePermission, at(500)) == 0 })
	other := s.raw(t, "udp", mint(t, "call", "bob", time.Now())).allocated(t)
	if got := other.do(t, stun.MethodCreatePermission, many...); got != 0 {
		t.Errorf("another allocation: %d", got)
	}
}

// A request with several peers gives permission for all or for none.
func TestPermissionsTogether(t *testing.T) {
	s := start(t, func(c *relay.Config) { c.Quotas.Permissions = 3 })
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	for i, test := range []struct {
		peers []stun.Setter
		want  int
	}{
		{[]stun.Setter{peer("127.0.0.1:5000"), peer("127.0.0.2:5000"), peer("127.0.0.3:5000"), peer("127.0.0.4:5000")}, 508},
		{[]stun.Setter{peer("127.0.0.1:5000"), peer("169.254.169.254:5000")}, 403},
		{[]stun.Setter{peer("127.0.0.1:5000"), attribute{stun.AttrXORPeerAddress, []byte{0, 9, 1, 2}}}, 400},
		{nil, 400},
		{[]stun.Setter{peer("127.0.0.5:5000"), peer("127.0.0.6:5000"), peer("127.0.0.7:5000"), peer("127.0.0.7:5001")}, 0},
		{[]stun.Setter{peer("127.0.0.1:5000")}, 508},
	} {
		if got := r.do(t, stun.MethodCreatePermission, test.peers...); got != test.want {
			t.Errorf("%d: %d, want %d", i, got, test.want)
		}
	}
}

// Nothing keeps an allocation whose credentials have expired for longer than a call may
// last: it is not refreshed, and ends by itself.
func TestAllocationEndsWithItsCall(t *testing.T) {
	t.Parallel()
	s := startTuned(t, func(c *relay.Config) { c.MaxCall = time.Minute }, func(s *relay.Server) {
		relay.SetLifetimes(s, 8*time.Second, time.Minute, time.Minute)
	})
	began := time.Now().Add(-2*time.Hour - time.Minute + 4*time.Second)
	minted := func(at time.Time, life time.Duration) (c credentials) {
		t.Helper()
		m, err := relay.NewMinter([]relay.Secret{secretOne}, life)
		if err != nil {
			t.Fatal(err)
		}
		c.username, c.password, _ = m.Mint("call", "alice", began, at)
		return c
	}
	old := minted(began, 2*time.Hour) // its call must be over in 4 s
	r := s.raw(t, "udp", minted(time.Now(), time.Hour)).greet(t)
	if got := r.do(t, stun.MethodAllocate, udpRelay); got != 0 {
		t.Fatalf("allocate: %d", got)
	}
	r.as = old
	if got := r.do(t, stun.MethodAllocate, udpRelay); got != 401 {
		t.Errorf("allocate with credentials that have expired: %d, want 401", got)
	}
	if got := r.do(t, stun.MethodRefresh); got != 0 {
		t.Errorf("refresh while the call may last: %d", got)
	}
	eventually(t, "it is not refreshed any more", func() bool { return r.do(t, stun.MethodRefresh) == 401 })
	if s.Allocations() != 1 {
		t.Error("it has ended before its time")
	}
	eventually(t, "it ends by itself", func() bool { return s.Allocations() == 0 })
}

// A relay with several addresses has all ports of each, and both sides of a call may be
// at any two of them.
func TestSeveralAddresses(t *testing.T) {
	addr := netip.MustParseAddr
	for name, change := range map[string]func(*relay.Config){
		"public": func(c *relay.Config) {
			c.PublicAddresses = []netip.Addr{addr("127.0.0.2"), addr("127.0.0.3")}
			c.BindAddresses = c.PublicAddresses
		},
		"behind NAT": func(c *relay.Config) {
			c.PublicAddresses = []netip.Addr{addr("127.0.0.2"), addr("127.0.0.3")}
			c.BindAddresses = []netip.Addr{addr("127.0.0.4"), addr("127.0.0.5")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(c *relay.Config) {
				change(c)
				c.Ports, c.Quotas.Allocations = relay.PortRange{Min: 20410, Max: 20411}, 4
				c.Development = true
			})
			var conns []net.PacketConn
			seen := make(map[string]bool)
			for i := range 4 {
				client, conn := s.allocate(t, everyTransport[i%3], mint(t, "call", "alice", time.Now()))
				seen[conn.LocalAddr().String()] = true
				if i == 1 && sameHost(conn, conns[0]) {
					t.Errorf("both at %v, and the other is empty", conn.LocalAddr())
				}
				conns = append(conns, conn)
				for _, a := range []string{"127.0.0.2", "127.0.0.3"} {
					if err := client.CreatePermission(&net.UDPAddr{IP: net.ParseIP(a), Port: 20410}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, want := range []string{"127.0.0.2:20410", "127.0.0.2:20411", "127.0.0.3:20410", "127.0.0.3:20411"} {
				if !seen[want] {
					t.Errorf("none at %s: %v", want, seen)
				}
			}
			for _, a := range conns {
				for _, b := range conns {
					if a != b {
						hand(t, a, b)
					}
				}
			}
			r := s.raw(t, "udp", mint(t, "call", "bob", time.Now())).greet(t)
			if got := r.do(t, stun.MethodAllocate, udpRelay); got != 508 {
				t.Errorf("one more: %d, want 508", got)
			}
			conns[0].Close()
			eventually(t, "one has ended", func() bool { return s.Allocations() == 3 })
			if got := r.do(t, stun.MethodAllocate, udpRelay); got != 0 {
				t.Errorf("in its place: %d", got)
			}
		})
	}
}

func sameHost(a, b net.PacketConn) bool {
	return a.LocalAddr().(*net.UDPAddr).IP.Equal(b.LocalAddr().(*net.UDPAddr).IP)
}

// Without a port the relay is full, though its quota is not reached.
func TestNoPortIsFree(t *testing.T) {
	s := start(t, func(c *relay.Config) {
		c.Ports, c.Quotas.Allocations = relay.PortRange{Min: 20412, Max: 20412}, 2
		c.AlternateServers = []netip.AddrPort{netip.MustParseAddrPort("198.51.100.7:3478")}
	})
	s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	for over, want := range map[string]int{"udp": 300, "tcp": 300, "tls": 508} {
		if got := s.raw(t, over, mint(t, "call", "alice", time.Now())).greet(t).do(t, stun.MethodAllocate, udpRelay); got != want {
			t.Errorf("over %s: %d, want %d", over, got, want)
		}
	}
	if n := s.count(t, "refusals_total", "ports"); n != 3 {
		t.Errorf("%v are counted, want 3", n)
	}
}

// An allocation is of the family that was asked for, or else of IPv4, or else of that
// which there is.
func TestFamilyOfAnAllocation(t *testing.T) {
	addr := netip.MustParseAddr
	const none, four, six = 0, 1, 2
	for _, test := range []struct {
		name   string
		listen string
		public []netip.Addr
		asked  byte
		want   string // the relayed address, or the code
	}{
		{"both, a client of IPv4", "127.0.0.1:0", []netip.Addr{addr("127.0.0.1"), addr("::1")}, none, "127.0.0.1"},
		{"both, a client of IPv6", "[::1]:0", []netip.Addr{addr("127.0.0.1"), addr("::1")}, none, "127.0.0.1"},
		{"both, a client of IPv4, on all addresses", ":0", []netip.Addr{addr("127.0.0.1"), addr("::1")}, none, "127.0.0.1"},
		{"both, IPv6 asked for", "127.0.0.1:0", []netip.Addr{addr("127.0.0.1"), addr("::1")}, six, "::1"},
		{"both, IPv4 asked for", "[::1]:0", []netip.Addr{addr("127.0.0.1"), addr("::1")}, four, "127.0.0.1"},
		{"IPv6 alone", "127.0.0.1:0", []netip.Addr{addr("::1")}, none, "::1"},
		{"IPv6 alone, on all addresses", ":0", []netip.Addr{addr("::1")}, none, "::1"},
		{"IPv6 alone, IPv4 asked for", "127.0.0.1:0", []netip.Addr{addr("::1")}, four, "440"},
		{"IPv4 alone", "[::1]:0", []netip.Addr{addr("127.0.0.1")}, none, "127.0.0.1"},
		{"IPv4 alone, IPv6 asked for", "[::1]:0", []netip.Addr{addr("127.0.0.1")}, six, "440"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, func(c *relay.Config) {
				c.Listen, c.TLS.Listen, c.PublicAddresses = test.listen, test.listen, test.public
			})
			for _, over := range everyTransport {
				as := mint(t, "call", "alice", time.Now())
				r := s.raw(t, over, as)
				if test.listen == ":0" {
					r = s.rawFour(t, over, as)
				}
				with := []stun.Setter{udpRelay}
				if test.asked != none {
					with = append(with, family(test.asked))
				}
				code, answer := r.greet(t).askOnce(t, r.request(t, stun.MethodAllocate, with...).Raw)
				got := fmt.Sprint(code)
				var at stun.XORMappedAddress
				if at.GetFromAs(answer, stun.AttrXORRelayedAddress) == nil {
					got = at.IP.String()
				}
				if got != test.want {
					t.Errorf("over %s: %s, want %s", over, got, test.want)
				}
				if code == 0 { // and it relays there
					if got := r.do(t, stun.MethodCreatePermission, peer(net.JoinHostPort(test.want, "5000"))); got != 0 {
						t.Errorf("permission over %s: %d", over, got)
					}
				}
			}
		})
	}
}

// rawFour is raw from an IPv4 address to a relay that listens on all addresses.
func (s *server) rawFour(t *testing.T, over string, as credentials) *raw {
	t.Helper()
	_, port, err := net.SplitHostPort(s.address(over))
	if err != nil {
		t.Fatal(err)
	}
	if over == "udp" {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		to, err := net.ResolveUDPAddr("udp4", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		return &raw{conn: conn, server: to, as: as}
	}
	conn, err := net.Dial("tcp4", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if over == "tls" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	return s.rawOn(t, conn, as)
}

// A relay for media servers alone relays to those in its list, and not to whom the
// world may reach.
func TestListedPeers(t *testing.T) {
	s := start(t, func(c *relay.Config) {
		c.Peers = relay.PeerConfig{Mode: relay.PeersListed, Allow: []netip.Prefix{netip.MustParsePrefix("10.7.0.0/16"), netip.MustParsePrefix("9.1.1.0/24")}}
	})
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	for p, want := range map[string]int{"10.7.1.2:5000": 0, "9.1.1.7:5000": 0, "8.8.8.8:5000": 403, "127.0.0.1:5000": 403, "10.8.0.1:5000": 403} {
		if got := r.do(t, stun.MethodCreatePermission, peer(p)); got != want {
			t.Errorf("permission for %s: %d, want %d", p, got, want)
		}
	}
	if n := s.count(t, "denied_peers_total", "unlisted"); n != 3 {
		t.Errorf("%v are counted, want 3", n)
	}
}
