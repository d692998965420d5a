package kernel

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/discovery"
	"switchboard/relay/natlab/nat"
)

// town has everything once: a double NAT, a routed network, NAT64, a VPN.
var town = natlab.Topology{
	Networks: map[string]natlab.NetworkSpec{
		"carrier": {Prefixes: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10")}},
		"home":    {}, "campus": {}, "lab": {}, "mobile": {}, "vpn": {},
	},
	Routers: map[string]natlab.RouterSpec{
		"a-box": {Inside: "home", Outside: "carrier", NAT: &natlab.PortRestricted},
		"cgn":   {Inside: "carrier", Outside: natlab.Internet, NAT: &natlab.Symmetric},
		"gate":  {Inside: "campus", Outside: natlab.Internet, IPv6: natlab.IPv6Routed},
		"inner": {Inside: "lab", Outside: "campus", IPv6: natlab.IPv6Routed},
		"cell":  {Inside: "mobile", Outside: natlab.Internet, NAT: &natlab.NAT{NAT64: true}},
		"vgate": {Inside: "vpn", Outside: natlab.Internet, NAT: &natlab.FullCone, Firewall: natlab.Firewall{TCPPorts: []uint16{443}}},
	},
	Hosts: map[string]natlab.HostSpec{
		"alice": {Networks: []string{"home", "vpn", "mobile"}},
		"bob":   {Networks: []string{"lab"}},
		"carol": {Networks: []string{"mobile"}},
		"relay": {Networks: []string{natlab.Internet}},
	},
}

// TestSameAddresses has the virtual engine give the same addresses.
func TestSameAddresses(t *testing.T) {
	p, err := newPlan(town)
	if err != nil {
		t.Fatal(err)
	}
	w, err := natlab.Build(1, town)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	same := func(what string, got, want []netip.Addr) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-virtual +kernel):\n%s", what, diff)
		}
	}
	for name := range town.Routers {
		same(name, p.outside[name].valid(), w.Router(name).External())
	}
	for name, h := range town.Hosts {
		same(name, p.leases[place{name, h.Networks[0]}].valid(), w.Host(name).Addrs())
		for other := range town.Hosts {
			var got []string
			for _, a := range p.tells(name, h.Networks[:1], w.Host(other).Addrs()) {
				got = append(got, a.String())
			}
			want, _ := w.Host(name).LookupHost(t.Context(), other)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s asks for %s (-virtual +kernel):\n%s", name, other, diff)
			}
		}
	}
}

func TestExpected(t *testing.T) {
	p, err := newPlan(town)
	if err != nil {
		t.Fatal(err)
	}
	all, tls := map[uint16]bool{443: true, 3478: true}, map[uint16]bool{443: true, 3478: false}
	for network, want := range map[string]Probed{
		"home":   {Ours: discovery.Verdict{Translated: true, Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent}, TCP: all},
		"lab":    {TCP: all},
		"mobile": {Ours: discovery.Verdict{Translated: true}, TCP: all},
		"vpn":    {Ours: discovery.Verdict{Translated: true}, TCP: tls},
	} {
		got := p.expected(network)
		if err := got.differs(want); err != nil {
			t.Errorf("%s: %v", network, err)
		}
		for what, lie := range map[string]func(*Probed){
			"mapping":   func(p *Probed) { p.Ours.Mapping = (p.Ours.Mapping + 1) % 3 },
			"filtering": func(p *Probed) { p.Ours.Filtering = (p.Ours.Filtering + 1) % 3 },
			"no NAT":    func(p *Probed) { p.Ours.Translated = !p.Ours.Translated },
			"no UDP":    func(p *Probed) { p.Ours.Blocked = true },
			"TCP":       func(p *Probed) { p.TCP[443] = false },
			"coturn":    func(p *Probed) { p.Coturn = &discovery.Verdict{Mapping: (p.Ours.Mapping + 1) % 3} },
		} {
			got := p.expected(network)
			lie(&got)
			if got.differs(want) == nil {
				t.Errorf("%s: another %s is not noticed", network, what)
			}
		}
	}
}

func TestReadCoturn(t *testing.T) {
	const (
		answer   = "RFC 5780 response 1\n0: : IPv4. UDP reflexive addr: 198.18.0.2:5000\n0: : IPv4. Local addr: : 192.168.1.2:5000\n"
		silence  = "STUN receive timeout..\n"
		mapping  = "NAT with Address and Port Dependent Mapping!\n"
		noNAT    = "No NAT! (Endpoint Independent Mapping)\n"
		filterAD = "NAT with Address Dependent Filtering!\n"
		filterEI = "NAT with Endpoint Independent Filtering!\n"
	)
	external := netip.MustParseAddrPort("198.18.0.2:5000")
	for name, tt := range map[string]struct {
		m, f string
		want discovery.Verdict
		err  string
	}{
		"a NAT":   {answer + mapping, answer + silence + filterAD, discovery.Verdict{External: external, Preserved: true, Translated: true, Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressDependent}, ""},
		"no NAT":  {answer + noNAT, answer + filterEI, discovery.Verdict{External: external, Preserved: true}, ""},
		"no UDP":  {silence, silence, discovery.Verdict{Blocked: true}, ""},
		"half":    {answer + mapping, silence, discovery.Verdict{}, "-f says"},
		"nothing": {"", "", discovery.Verdict{}, "says"},
		"garbage": {"Usage: natdiscovery", "", discovery.Verdict{}, "Usage"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readCoturn(tt.m, tt.f)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}
