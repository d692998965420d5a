package relay

import (
	"net/netip"
	"slices"
	"testing"
)

// embedding is a way to write an IPv4 address as an IPv6 address.
type embedding struct {
	name string
	in   func(v4 [4]byte) netip.Addr
}

func (e embedding) Name() string             { return e.name }
func (e embedding) In(v4 [4]byte) netip.Addr { return e.in(v4) }

var embeddings = []embedding{
	{"mapped", func(v [4]byte) netip.Addr { return v6("::ffff:0:0", 12, v) }},
	{"compatible", func(v [4]byte) netip.Addr { return v6("::", 12, v) }},
	{"translated", func(v [4]byte) netip.Addr { return v6("::ffff:0:0:0", 12, v) }},
	{"NAT64", func(v [4]byte) netip.Addr { return v6("64:ff9b::", 12, v) }},
	{"own NAT64/96", func(v [4]byte) netip.Addr { return v6("64:ff9b:1:aaaa::", 12, v) }},
	{"own NAT64/64", func(v [4]byte) netip.Addr { return v6("64:ff9b:1:aaaa::", 9, v) }},
	{"own NAT64/56", func(v [4]byte) netip.Addr {
		return v6around("64:ff9b:1:aa00::", []int{7, 9, 10, 11}, v)
	}},
	{"own NAT64/48", func(v [4]byte) netip.Addr { return v6around("64:ff9b:1::", []int{6, 7, 9, 10}, v) }},
	{"6to4", func(v [4]byte) netip.Addr { return v6("2002::1", 2, v) }},
	{"Teredo server", func(v [4]byte) netip.Addr { return v6("2001:0:0:0:0:0:f7f7:f7f7", 4, v) }},
	{"Teredo client", func(v [4]byte) netip.Addr {
		return v6("2001:0:808:808::", 12, [4]byte{^v[0], ^v[1], ^v[2], ^v[3]})
	}},
	{"ISATAP", func(v [4]byte) netip.Addr { return v6("2a00:1450:4001:81c:0:5efe::", 12, v) }},
	{"ISATAP, unique", func(v [4]byte) netip.Addr { return v6("2a00:1450:4001:81c:200:5efe::", 12, v) }},
}

func v6(base string, at int, v4 [4]byte) netip.Addr {
	return v6around(base, []int{at, at + 1, at + 2, at + 3}, v4)
}

func v6around(base string, at []int, v4 [4]byte) netip.Addr {
	b := netip.MustParseAddr(base).As16()
	for i, where := range at {
		b[where] = v4[i]
	}
	return netip.AddrFrom16(b)
}

var deniedIPv4 = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
}

var deniedIPv6 = []string{
	"::/128", "::1/128", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
	"2002::/16", "3fff::/20", "5f00::/16", "4000::/3", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2620:4f:8000::/48",
}

var public = []string{"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
	"169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
	"223.255.255.255", "2000::1", "2001:200::", "2001:db7::1", "2a00:1450:4001:81c::200e", "2606:4700:4700::1111", "3ffe::1"}

// ends are the first and the last address of a network and one in between.
func ends(n netip.Prefix) []netip.Addr {
	last := n.Addr().AsSlice()
	for i := n.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	middle := n.Addr().AsSlice()
	if n.Bits() < len(middle)*8 {
		middle[n.Bits()/8] |= 0x80 >> (n.Bits() % 8)
	}
	b, _ := netip.AddrFromSlice(last)
	c, _ := netip.AddrFromSlice(middle)
	return []netip.Addr{n.Addr(), b, c}
}

// strict is the policy of a relay with nothing allowed and no allocation.
func strict(c Config) *policy {
	return newPolicy(c, []netip.Addr{netip.MustParseAddr("5.5.5.5")}, func(p netip.AddrPort) bool { return p.Port() == 50000 })
}

func TestPolicyDeniesWhatIsNotPublic(t *testing.T) {
	p := strict(Config{})
	for _, n := range append(slices.Clone(deniedIPv4), deniedIPv6...) {
		for _, a := range ends(netip.MustParsePrefix(n)) {
			if d := p.address(a); d != deniedRange {
				t.Errorf("%v of %v: %q", a, n, d)
			}
		}
	}
	for _, s := range public {
		if d := p.packet(netip.AddrPortFrom(netip.MustParseAddr(s), 5000)); d != allowed {
			t.Errorf("%s: %q", s, d)
		}
	}
}

// In each embedding every denied range is denied even when the operator allows
// the networks in which addresses of that embedding are.
func TestPolicyDeniesEveryEmbedding(t *testing.T) {
	p := strict(Config{Peers: PeerConfig{Allow: prefixes(
		"2002::/16", "2001::/32", "64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::8.0.0.0/104", "2a00::/16",
	)}})
	for _, e := range embeddings {
		t.Run(e.name, func(t *testing.T) {
			for _, n := range deniedIPv4 {
				for _, v4 := range ends(netip.MustParsePrefix(n)) {
					if a := e.in(v4.As4()); p.address(a) == allowed {
						t.Errorf("%v, which is %v: allowed", a, v4)
					}
				}
			}
			if a := e.in([4]byte{8, 8, 8, 8}); p.address(a) != allowed {
				t.Errorf("%v, which is 8.8.8.8, and allowed: %q", a, p.address(a))
			}
			if a := e.in([4]byte{5, 5, 5, 5}); a.Unmap().Is6() && p.address(a) == allowed {
				t.Errorf("%v, which is this relay: allowed", a)
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	peers := PeerConfig{Allow: prefixes("10.1.0.0/16", "fd00:1::/32"), Deny: prefixes("10.1.2.0/24", "9.9.9.9/32", "2a00:1::/32")}
	listed := PeerConfig{Mode: PeersListed, Allow: prefixes("10.1.0.0/16", "9.1.1.0/24"), Deny: prefixes("9.1.1.9/32")}
	lab := PeerConfig{Allow: prefixes("198.18.0.0/16", "2001:2::/48")}
	for _, test := range []struct {
		config Config
		peer   string
		want   denial
	}{
		{Config{}, "8.8.8.8:5000", allowed},
		{Config{}, "8.8.8.8:1024", allowed},
		{Config{}, "8.8.8.8:1023", deniedPort},
		{Config{}, "8.8.8.8:53", deniedPort},
		{Config{}, "8.8.8.8:0", deniedPort},
		{Config{}, "[fe80::1%eth0]:5000", deniedAddress},
		{Config{}, "[2a00:1450::1%eth0]:5000", deniedAddress},
		{Config{}, "[::ffff:127.0.0.1]:5000", deniedRange},
		{Config{}, "5.5.5.5:50000", allowed},
		{Config{}, "[::ffff:5.5.5.5]:50000", allowed},
		{Config{}, "5.5.5.5:50001", deniedOwn},
		{Config{}, "5.5.5.5:3478", deniedOwn},
		{Config{}, "5.5.5.5:22", deniedPort},
		{Config{}, "6.6.6.6:50000", deniedOwn},
		{Config{}, "10.0.0.7:50000", deniedOwn},

		{Config{Peers: peers}, "10.1.1.1:5000", allowed},
		{Config{Peers: peers}, "10.1.2.1:5000", deniedOperator},
		{Config{Peers: peers}, "[::ffff:10.1.2.1]:5000", deniedOperator},
		{Config{Peers: peers}, "[64:ff9b::a01:201]:5000", deniedOperator},
		{Config{Peers: peers}, "10.2.0.1:5000", deniedRange},
		{Config{Peers: peers}, "10.1.1.1:80", deniedPort},
		{Config{Peers: peers}, "9.9.9.9:5000", deniedOperator},
		{Config{Peers: peers}, "[fd00:1::1]:5000", allowed},
		{Config{Peers: peers}, "[fd00:2::1]:5000", deniedRange},
		{Config{Peers: peers}, "[2a00:1::1]:5000", deniedOperator},

		{Config{Peers: lab}, "198.18.3.4:5000", allowed},
		{Config{Peers: lab}, "[::ffff:198.18.3.4]:5000", allowed},
		{Config{Peers: lab}, "[2001:2::5]:5000", allowed},
		{Config{Peers: lab}, "198.18.3.4:53", deniedPort},
		{Config{Peers: lab}, "198.19.3.4:5000", deniedRange},
		{Config{Peers: lab}, "192.168.1.2:5000", deniedRange},
		{Config{Peers: lab}, "10.0.0.8:5000", deniedRange},
		{Config{Peers: lab}, "100.64.0.1:5000", deniedRange},
		{Config{Peers: lab}, "127.0.0.1:5000", deniedRange},
		{Config{Peers: lab}, "[64:ff9b::c612:304]:5000", deniedRange},
		{Config{Peers: lab}, "[2001:3::5]:5000", deniedRange},
		{Config{Peers: lab}, "6.6.6.6:5000", deniedOwn},

		{Config{Peers: listed}, "10.1.1.1:5000", allowed},
		{Config{Peers: listed}, "[::ffff:10.1.1.1]:5000", allowed},
		{Config{Peers: listed}, "9.1.1.1:5000", allowed},
		{Config{Peers: listed}, "9.1.1.1:53", deniedPort},
		{Config{Peers: listed}, "9.1.1.9:5000", deniedOperator},
		{Config{Peers: listed}, "8.8.8.8:5000", deniedUnlisted},
		{Config{Peers: listed}, "[2a00:1450::1]:5000", deniedUnlisted},
		{Config{Peers: listed}, "5.5.5.5:50000", deniedUnlisted},
		{Config{Peers: listed, Development: true}, "127.0.0.1:5000", deniedUnlisted},

		{Config{Development: true}, "127.0.0.1:5000", allowed},
		{Config{Development: true}, "[::1]:5000", allowed},
		{Config{Development: true}, "127.0.0.1:80", deniedPort},
		{Config{Development: true}, "192.168.1.2:5000", allowed},
		{Config{Development: true}, "10.0.0.7:5000", allowed},
		{Config{Development: true}, "10.0.0.7:3478", deniedOwn},
		{Config{Development: true}, "6.6.6.6:5000", allowed},
		{Config{Development: true}, "169.254.169.254:5000", deniedRange},
		{Config{Development: true}, "[fe80::1]:5000", deniedRange},
		{Config{Development: true}, "224.0.0.1:5000", deniedRange},
		{Config{Development: true}, "192.0.2.1:5000", deniedRange},
	} {
		p := strict(test.config)
		p.setOwn([]netip.Addr{netip.MustParseAddr("6.6.6.6"), netip.MustParseAddr("10.0.0.7")})
		p.setServices(3478)
		if got := p.packet(netip.MustParseAddrPort(test.peer)); got != test.want {
			t.Errorf("%s, development %v, lists %v: %q, want %q", test.peer, test.config.Development, len(test.config.Peers.Allow) > 0, got, test.want)
		}
	}
	if d := strict(Config{}).address(netip.Addr{}); d != deniedAddress {
		t.Errorf("no address: %q", d)
	}
}

// FuzzPolicy writes every IPv4 address in every way, and any IPv6 address.
func FuzzPolicy(f *testing.F) {
	for _, s := range append(slices.Clone(public), "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "fe80::1") {
		a := netip.MustParseAddr(s).As16()
		f.Add(a[:])
	}
	strict := strict(Config{})
	open := newPolicy(Config{Peers: PeerConfig{Allow: prefixes("2002::/16", "2001::/23", "64:ff9b::/32", "::ffff:0:0:0/96")}}, nil, nil)
	var denied []netip.Prefix
	for _, n := range append(slices.Clone(deniedIPv4), deniedIPv6...) {
		denied = append(denied, netip.MustParsePrefix(n))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 16 {
			return
		}
		a := netip.AddrFrom16([16]byte(b))
		if strict.address(a) == allowed && contains(denied, a.Unmap()) {
			t.Errorf("%v is allowed", a)
		}
		v4 := netip.AddrFrom4([4]byte(b[:4]))
		if v4 != strict.relays[0] && (strict.address(v4) == allowed) == contains(denied, v4) {
			t.Errorf("%v: %q", v4, strict.address(v4))
		}
		for _, e := range embeddings {
			in := e.in(v4.As4())
			if open.address(v4) != allowed && open.address(in) == allowed {
				t.Errorf("%v is allowed as %v (%s)", v4, in, e.name)
			}
			if f := appendForms(nil, in); !slices.Contains(f, v4) && v4 != netip.IPv4Unspecified() && v4.As4() != [4]byte{0, 0, 0, 1} {
				t.Errorf("%v (%s) has forms %v", in, e.name, f)
			}
		}
	})
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(n netip.Prefix) bool { return n.Contains(a) })
}

func BenchmarkPolicyPacket(b *testing.B) {
	p := strict(Config{})
	for _, peer := range []string{"8.8.8.8:5000", "[2a00:1450:4001:81c::200e]:5000"} {
		b.Run(peer, func(b *testing.B) {
			a := netip.MustParseAddrPort(peer)
			for b.Loop() {
				p.packet(a)
			}
		})
	}
}
