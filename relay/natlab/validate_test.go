package natlab_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"switchboard/relay/natlab"
)

func prefixes(s ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, x := range s {
		p = append(p, netip.MustParsePrefix(x))
	}
	return p
}

// home is a topology with nothing wrong: a phone behind two NATs, and a server.
func home() natlab.Topology {
	return natlab.Topology{
		Networks: map[string]natlab.NetworkSpec{"carrier": {Prefixes: prefixes("100.64.0.0/16")}, "home": {}},
		Routers: map[string]natlab.RouterSpec{
			"cgn": {Inside: "carrier", Outside: natlab.Internet, NAT: &natlab.Symmetric},
			"box": {Inside: "home", Outside: "carrier", NAT: &natlab.PortRestricted},
		},
		Hosts: map[string]natlab.HostSpec{"phone": {Networks: []string{"home", natlab.Internet}}, "server": {Networks: []string{natlab.Internet}}},
	}
}

func TestValidate(t *testing.T) {
	if err := home().Validate(); err != nil {
		t.Fatalf("a good topology: %v", err)
	}
	if err := (natlab.Topology{}).Validate(); err != nil {
		t.Fatalf("an empty topology: %v", err)
	}
	for _, tt := range []struct {
		name  string
		spoil func(*natlab.Topology)
		want  []string
	}{
		{"names", func(t *natlab.Topology) {
			t.Hosts["Phone"] = natlab.HostSpec{Networks: []string{"home"}}
			t.Hosts["a-name-too-long"] = natlab.HostSpec{Networks: []string{"home"}}
			t.Hosts["home"] = natlab.HostSpec{Networks: []string{"home"}}
		}, []string{`host "Phone": a name is`, `host "a-name-too-long": a name is`, `host "home": the name is that of a network`}},
		{"unknown networks", func(t *natlab.Topology) {
			t.Routers["box"] = natlab.RouterSpec{Inside: "hom", Outside: "carier"}
			t.Hosts["phone"] = natlab.HostSpec{Networks: []string{"wifi"}}
			t.Hosts["lost"] = natlab.HostSpec{}
		}, []string{`inside: network "hom" is unknown`, `outside: network "carier" is unknown`, `host "phone": network "wifi" is unknown`, `host "lost": it is in no network`}},
		{"a cycle", func(t *natlab.Topology) {
			t.Routers["cgn"] = natlab.RouterSpec{Inside: "carrier", Outside: "home"}
		}, []string{`network "carrier": its routers lead back`, `network "home": its routers lead back`}},
		{"a network inside itself", func(t *natlab.Topology) {
			t.Routers["box"] = natlab.RouterSpec{Inside: "home", Outside: "home"}
		}, []string{`network "home": its routers lead back`}},
		{"two ways out", func(t *natlab.Topology) {
			t.Routers["dsl"] = natlab.RouterSpec{Inside: "home", Outside: natlab.Internet}
		}, []string{`network "home" has a router already`}},
		{"the internet inside", func(t *natlab.Topology) {
			t.Routers["dsl"] = natlab.RouterSpec{Inside: natlab.Internet, Outside: "home"}
		}, []string{"nobody's inside"}},
		{"prefixes", func(t *natlab.Topology) {
			t.Networks["home"] = natlab.NetworkSpec{Prefixes: prefixes("10.0.0.0/8", "10.1.0.1/16", "64:ff9b::/96", "fe80::/64")}
		}, []string{"2 prefixes of IPv4", "10.1.0.0/16 is meant?", "64:ff9b::/96 is that of NAT64", "fe80::/64 is not for hosts"}},
		{"overlap on the way out", func(t *natlab.Topology) {
			t.Networks["home"] = natlab.NetworkSpec{Prefixes: prefixes("100.64.3.0/24")}
		}, []string{`prefix 100.64.3.0/24 overlaps 100.64.0.0/16 of network "carrier"`}},
		{"overlap without NAT", func(t *natlab.Topology) {
			t.Networks["home"] = natlab.NetworkSpec{Prefixes: prefixes("10.0.0.0/24")}
			t.Networks["office"] = natlab.NetworkSpec{Prefixes: prefixes("10.0.0.0/24")}
			t.Routers["box"] = natlab.RouterSpec{Inside: "home", Outside: natlab.Internet}
			t.Routers["wall"] = natlab.RouterSpec{Inside: "office", Outside: natlab.Internet}
		}, []string{`prefix 10.0.0.0/24 overlaps 10.0.0.0/24 of network "home"`}},
		{"no room", func(t *natlab.Topology) {
			t.Networks["home"] = natlab.NetworkSpec{Prefixes: prefixes("10.0.0.0/30")}
			t.Hosts["tablet"] = natlab.HostSpec{Networks: []string{"home"}}
		}, []string{"10.0.0.0/30 is too small for 2 addresses"}},
		{"numbers", func(t *natlab.Topology) {
			t.Networks["home"] = natlab.NetworkSpec{Link: natlab.Link{Loss: 2, Rate: -1}}
			t.Routers["box"] = natlab.RouterSpec{Inside: "home", Outside: "carrier", IPv6: "yes",
				NAT:      &natlab.NAT{Mapping: 7, PortRange: natlab.PortRange{Min: 10, Max: 1}},
				Firewall: natlab.Firewall{TCPPorts: []uint16{0}}}
		}, []string{`network "home": link: loss`, `network "home": link: rate`, `router "box": nat: mapping`, `router "box": nat: port_range`, `ipv6: "yes" is neither`, "tcp_ports: 0 is no port"}},
		{"families", func(t *natlab.Topology) {
			t.Networks["carrier"] = natlab.NetworkSpec{Prefixes: prefixes("2001:db8:5::/64")}
			t.Networks["home"] = natlab.NetworkSpec{Prefixes: prefixes("10.0.0.0/24")}
			t.Routers["cgn"] = natlab.RouterSpec{Inside: "carrier", Outside: natlab.Internet, IPv6: natlab.IPv6Routed}
		}, []string{`network "carrier" has no IPv4 prefix for the NAT's outside`}},
		{"nat64", func(t *natlab.Topology) {
			t.Networks["home"] = natlab.NetworkSpec{Prefixes: prefixes("10.0.0.0/24")}
			t.Routers["box"] = natlab.RouterSpec{Inside: "home", Outside: "carrier", NAT: &natlab.NAT{NAT64: true}}
		}, []string{`network "home" has no IPv6 prefix for NAT64`}},
		{"routed to nowhere", func(t *natlab.Topology) {
			t.Routers["box"] = natlab.RouterSpec{Inside: "home", Outside: "carrier", IPv6: natlab.IPv6Routed}
		}, []string{`network "carrier" has no IPv6 prefix to route to`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			top := home()
			tt.spoil(&top)
			err := top.Validate()
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("nothing like %q in: %v", want, err)
				}
			}
			if _, err := natlab.Build(1, top); err == nil {
				t.Error("Build takes it")
			}
		})
	}
	t.Run("the same prefix behind two NATs", func(t *testing.T) {
		top := home()
		top.Networks["home"] = natlab.NetworkSpec{Prefixes: prefixes("10.0.0.0/24")}
		top.Networks["office"] = natlab.NetworkSpec{Prefixes: prefixes("10.0.0.0/24")}
		top.Routers["wall"] = natlab.RouterSpec{Inside: "office", Outside: natlab.Internet, NAT: &natlab.FullCone}
		if err := top.Validate(); err != nil {
			t.Error(err)
		}
	})
}

func TestComplete(t *testing.T) {
	top := natlab.Topology{
		Networks: map[string]natlab.NetworkSpec{"a": {}, "b": {}, "c": {}, "d": {Prefixes: prefixes("192.168.0.0/22")}},
		Routers: map[string]natlab.RouterSpec{
			"ra": {Inside: "a", Outside: natlab.Internet, NAT: &natlab.FullCone, IPv6: natlab.IPv6Blackhole},
			"rb": {Inside: "b", Outside: natlab.Internet, NAT: &natlab.NAT{NAT64: true}},
		},
	}
	got := top.Complete()
	for name, want := range map[string][]netip.Prefix{
		natlab.Internet: {natlab.Internet4, natlab.Internet6},
		"a":             prefixes("192.168.4.0/24", "2001:db8:1::/64"),
		"b":             prefixes("2001:db8:2::/64"),
		"c":             prefixes("192.168.5.0/24"),
		"d":             prefixes("192.168.0.0/22"),
	} {
		if p := got.Networks[name].Prefixes; !slices.Equal(p, want) {
			t.Errorf("%s has %v, want %v", name, p, want)
		}
	}
	if len(top.Networks["a"].Prefixes) != 0 {
		t.Error("the topology itself was changed")
	}
}
