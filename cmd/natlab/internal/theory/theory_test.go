package theory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/relay/natlab"
)

// kinds are those of the table, in its order.
func kinds() ([]string, map[string][]natlab.RouterSpec) {
	names, all := []string{"open"}, map[string][]natlab.RouterSpec{"open": nil}
	add := func(name string, r natlab.RouterSpec) {
		names = append(names, name)
		all[name] = []natlab.RouterSpec{r}
	}
	short := []string{"ei", "ad", "apd"}
	for _, m := range natlab.Behaviors() {
		for _, f := range natlab.Behaviors() {
			add(short[m]+"m-"+short[f]+"f", natlab.RouterSpec{NAT: &natlab.NAT{Mapping: m, Filtering: f}})
		}
	}
	strict := natlab.PortRestricted
	nat64 := natlab.NAT{Filtering: natlab.AddressAndPortDependent, NAT64: true}
	add("udp-blocked", natlab.RouterSpec{NAT: &strict, Firewall: natlab.Firewall{BlockUDP: true}})
	add("tls-only", natlab.RouterSpec{NAT: &strict, Firewall: natlab.Firewall{BlockUDP: true, TCPPorts: []uint16{443}}})
	add("dual-stack", natlab.RouterSpec{NAT: &strict, IPv6: natlab.IPv6Routed})
	add("nat64", natlab.RouterSpec{NAT: &nat64, IPv6: natlab.IPv6Routed})
	return names, all
}

// TestTableIsTheLaw derives each cell of THEORY.md, and shows the table that should stand
// there.
func TestTableIsTheLaw(t *testing.T) {
	names, all := kinds()
	var b strings.Builder
	fmt.Fprintf(&b, "| caller | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for _, caller := range names {
		fmt.Fprintf(&b, "| %s |", caller)
		for _, callee := range names {
			e, err := Between(pairOf(all[caller], all[callee]), "alice", "bob", true)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %s %d |", e.Path, e.Reason)
		}
		b.WriteString("\n")
	}
	if !strings.Contains(Page(), b.String()) {
		t.Errorf("THEORY.md should have this table:\n\n%s", b.String())
	}
	if diff := cmp.Diff(names, Get().Kinds); diff != "" {
		t.Error(diff)
	}
}

// TestLaw is for what has no row.
func TestLaw(t *testing.T) {
	nat := func(n natlab.NAT) *natlab.NAT { return &n }
	carrier := func(hairpin bool, home natlab.NAT) natlab.Topology {
		return natlab.Topology{
			Networks: map[string]natlab.NetworkSpec{"home-a": {}, "home-b": {}, "carrier": {}},
			Routers: map[string]natlab.RouterSpec{
				"nat-a": {Inside: "home-a", Outside: "carrier", NAT: nat(home)},
				"nat-b": {Inside: "home-b", Outside: "carrier", NAT: nat(home)},
				"cgn":   {Inside: "carrier", Outside: "internet", NAT: &natlab.NAT{Hairpin: hairpin}},
			},
			Hosts: map[string]natlab.HostSpec{
				"alice": {Networks: []string{"home-a"}}, "bob": {Networks: []string{"home-b"}},
				"carol": {Networks: []string{"carrier"}}, "dave": {Networks: []string{"home-a"}}, "eve": {Networks: []string{"island"}},
				"frank": {Networks: []string{"internet"}}, "grace": {Networks: []string{"internet"}},
			},
		}
	}
	tests := []struct {
		name     string
		topology natlab.Topology
		caller   string
		callee   string
		relays   bool
		path     Path
		reason   int
	}{
		{"one network", carrier(false, natlab.Symmetric), "alice", "dave", true, Host, SameNetwork},
		{"one network without relays", carrier(false, natlab.Symmetric), "alice", "dave", false, Host, SameNetwork},
		{"one carrier with hairpinning", carrier(true, natlab.PortRestricted), "alice", "bob", true, Direct, Hairpin},
		{"one carrier with hairpinning, symmetric homes", carrier(true, natlab.Symmetric), "alice", "bob", true, RelayUDP, FilterForeseesNoMove},
		{"one carrier without", carrier(false, natlab.FullCone), "alice", "bob", true, RelayUDP, NoHairpin},
		{"one carrier without, no relays", carrier(false, natlab.FullCone), "alice", "bob", false, None, NoRelay},
		{"one in the other's outside", carrier(false, natlab.Symmetric), "alice", "carol", true, Direct, NoNAT},
		{"a server", carrier(false, natlab.Symmetric), "frank", "bob", true, Direct, NoNAT},
		{"two in the internet", carrier(false, natlab.Symmetric), "frank", "grace", true, Host, SameNetwork},
		{"an island", carrier(false, natlab.FullCone), "alice", "eve", true, None, Unreachable},
		{"no relays", pairOf(routersOf([]natlab.NAT{natlab.Symmetric}), routersOf([]natlab.NAT{natlab.Symmetric})), "alice", "bob", false, None, NoRelay},
		{"no relays, mild", pairOf(routersOf([]natlab.NAT{natlab.FullCone}), routersOf([]natlab.NAT{natlab.FullCone})), "alice", "bob", false, Direct, BothKeepTheirEndpoint},
		{"IPv6 that leads nowhere", pairOf([]natlab.RouterSpec{{NAT: nat(natlab.FullCone), IPv6: natlab.IPv6Blackhole}}, []natlab.RouterSpec{{NAT: nat(natlab.FullCone), IPv6: natlab.IPv6Routed}}), "alice", "bob", true, Direct, BothKeepTheirEndpoint},
		{"TCP but neither port", pairOf([]natlab.RouterSpec{{NAT: nat(natlab.FullCone), Firewall: natlab.Firewall{BlockUDP: true, TCPPorts: []uint16{80}}}}, nil), "alice", "bob", true, None, Unreachable},
		{"both behind one that blocks UDP", func() natlab.Topology {
			t := carrier(true, natlab.FullCone)
			r := t.Routers["cgn"]
			r.Firewall.BlockUDP = true
			t.Routers["cgn"] = r
			return t
		}(), "alice", "bob", true, RelayTCP, UDPBlocked},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Between(test.topology, test.caller, test.callee, test.relays)
			if want := (Expectation{test.path, test.reason}); err != nil || got != want {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
		})
	}
}

func TestUnsure(t *testing.T) {
	byAddress := natlab.NAT{Filtering: natlab.AddressDependent}
	topology := pairOf(routersOf([]natlab.NAT{{Mapping: natlab.AddressDependent}, byAddress}), routersOf([]natlab.NAT{{Mapping: natlab.AddressDependent}}))
	_, err := Between(topology, "alice", "bob", true)
	if u, ok := err.(*UnsureError); !ok || u.Host != "alice" {
		t.Errorf("got %v", err)
	}
}

func TestNames(t *testing.T) {
	table := Get()
	for name, kind := range map[string]string{"symmetric": "apdm-apdf", "full-cone": "eim-eif", "tls-only": "tls-only", "hotel": ""} {
		if got := table.Kind(name); got != kind {
			t.Errorf("%s is %q, want %q", name, got, kind)
		}
	}
	if e, ok := table.Look("port-restricted", "symmetric"); !ok || e.Path != RelayUDP {
		t.Errorf("got %v", e)
	}
	if _, ok := table.Look("port-restricted", "hotel"); ok {
		t.Error("a hotel is in the table")
	}
}

// TestReasons wants each of them used by a cell, or by the law for what is no pair of
// kinds.
func TestReasons(t *testing.T) {
	for n := SameNetwork; n <= Unreachable; n++ {
		if r := Get().Reasons[n]; r.Short == "" || n < NoRelay && r.Text == "" {
			t.Errorf("reason %d: %+v", n, r)
		}
	}
	if n := len(Get().Reasons); n != Unreachable {
		t.Errorf("%d reasons", n)
	}
}

func TestSlipsOfThePen(t *testing.T) {
	good := Page()
	for name, bad := range map[string]string{
		"a path":         strings.Replace(good, "relay/tcp 9", "relay/tcq 9", 1),
		"a reason":       strings.Replace(good, "direct 4", "direct 44", 1),
		"a cell":         strings.Replace(good, "| direct 4 ", "", 1),
		"a row":          strings.Replace(good, "| tls-only |", "| tsl-only |", 1),
		"a kind":         strings.Replace(good, "`eim-eif` |", "`eim-eef` |", 1),
		"a reason twice": strings.Replace(good, "2. **Both", "1. **Both", 1),
		"all":            "",
	} {
		if bad == good {
			t.Errorf("%s: nothing was changed", name)
		} else if _, err := parse(bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestPaths(t *testing.T) {
	if !RelayTCP.Worse(Direct) || Host.Worse(Direct) || Direct.Worse(Direct) || !Path("").Worse(None) {
		t.Error("order of paths")
	}
	if got := Worst(Direct, RelayTLS, RelayUDP); got != RelayTLS {
		t.Errorf("worst is %v", got)
	}
}
