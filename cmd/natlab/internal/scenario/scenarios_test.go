package scenario

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"switchboard/cmd/natlab/internal/theory"
	"switchboard/relay/natlab"
)

const ours = "../../../../configs/natlab"

// TestOurScenarios loads all that we ship, and looks at what they come to.
func TestOurScenarios(t *testing.T) {
	list, err := Load(ours)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*Scenario{}
	for _, s := range list {
		byName[s.Name] = s
		for _, c := range s.Cases() {
			if !c.Expect.Path.Known() && c.Expect.Path != Any || c.Reason == "" || c.Caller == c.Callee {
				t.Errorf("%s %s: %+v", s.Name, c.Name, c)
			}
		}
	}
	for name, want := range map[string]struct {
		cases       int
		path, after Path // of the first
		gap         time.Duration
	}{
		"matrix": {121, Direct, Direct, time.Second}, "classic": {49, Direct, Direct, time.Second}, "browsers": {8, Direct, Direct, time.Second},
		"smoke": {5, Host, Host, time.Second}, "same-nat": {1, Host, Host, time.Second}, "same-nat-hairpin": {1, Host, Host, time.Second},
		"same-carrier": {1, RelayUDP, RelayUDP, time.Second}, "same-carrier-hairpin": {1, Direct, Direct, time.Second},
		"ipv6": {5, Host, Host, time.Second}, "ipv6-only-nat64": {6, Host, Host, time.Second}, "broken-ipv6": {5, Direct, Direct, time.Second},
		"vpn": {1, Direct, Direct, 20 * time.Second}, "port-exhaustion": {1, Any, Any, time.Second}, "short-timeout": {2, RelayUDP, RelayUDP, time.Second},
		"no-relay-symmetric": {1, None, None, time.Second},
		"relay-killed":       {1, RelayUDP, RelayUDP, 15 * time.Second}, "relay-drained": {1, RelayUDP, RelayUDP, 2 * time.Second},
		"node-killed": {1, Direct, Direct, time.Second}, "node-drained": {1, Direct, Direct, time.Second},
		"wifi-to-mobile": {1, Direct, RelayUDP, 15 * time.Second}, "nat-reboot": {1, Direct, Direct, 15 * time.Second},
		"network-gone-10s": {1, Direct, Direct, 20 * time.Second}, "delay-jitter": {2, Direct, Direct, time.Second}, "loss": {1, Direct, Direct, time.Second},
		"burst-loss": {1, Direct, Direct, time.Second}, "reorder": {1, Direct, Direct, time.Second}, "slow-link": {1, Direct, Direct, time.Second},
	} {
		s := byName[name]
		if s == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		delete(byName, name)
		c := s.Cases()[0]
		if e := c.Expect; len(s.Cases()) != want.cases || e.Path != want.path || e.After != want.after || e.Gap != want.gap {
			t.Errorf("%s: %d cases, %s then %s, gap %v; want %+v", name, len(s.Cases()), e.Path, e.After, e.Gap, want)
		}
	}
	for name := range byName {
		t.Errorf("%s is not looked at here", name)
	}
}

// TestAccessesAreTheirKinds holds the accesses that have a row in THEORY.md against it:
// what the law says of their topologies is what the table has.
func TestAccessesAreTheirKinds(t *testing.T) {
	library, problems := loadAccess(ours)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := &Scenario{Access: library}
	s.defaults()
	looked := 0
	for _, a := range sorted(library) {
		for _, b := range sorted(library) {
			want, ok := theory.Get().Look(a, b)
			if !ok {
				continue
			}
			looked++
			c, err := s.newCase(pair{"", Phone{Access: a}, Phone{Access: b}})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := theory.Between(c.Topology, c.Caller, c.Callee, true); err != nil || got != want {
				t.Errorf("%s × %s: the law says %v, %v; the table %v", a, b, got, err, want)
			}
		}
	}
	for _, k := range theory.Get().Kinds {
		if !slices.Contains(sorted(library), k) {
			t.Errorf("%s has a row in THEORY.md and is no access", k)
		}
	}
	if looked < 300 {
		t.Errorf("only %d pairs", looked)
	}
}

// TestMoves wants to know what theory says of where hosts have gone.
func TestMoves(t *testing.T) {
	for name, test := range map[string]struct {
		events []Event
		after  Path
	}{
		"nowhere":      {nil, Direct},
		"moved":        {[]Event{{Move: &Change{alice, "mobile"}}}, RelayUDP},
		"and back":     {[]Event{{Move: &Change{alice, "mobile"}}, {Move: &Change{alice, "wifi"}}}, Direct},
		"joined":       {[]Event{{Join: &Change{alice, "mobile"}}}, RelayUDP},
		"and left":     {[]Event{{Join: &Change{alice, "mobile"}}, {Leave: &Change{alice, "mobile"}}}, Direct},
		"left nothing": {[]Event{{Leave: &Change{alice, "mobile"}}}, Direct},
	} {
		t.Run(name, func(t *testing.T) {
			s, problems := load(ours+"/wifi-to-mobile.yaml", library(t))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			s.Events, s.Expect = test.events, Expect{}
			c, err := s.newCase(s.pairs()[0])
			if err != nil || c.Expect.After != test.after {
				t.Errorf("got %s, %v, want %s", c.Expect.After, err, test.after)
			}
		})
	}
}

func library(t *testing.T) map[string]Access {
	t.Helper()
	l, problems := loadAccess(ours)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return l
}

// TestStatedPaths say what theory would.
func TestStatedPaths(t *testing.T) {
	for path, want := range map[Path]string{
		RelayTCP: "the scenario says so, and theory: UDP does not get out", RelayUDP: "the scenario says so; theory expects relay/tcp: UDP does not get out", Any: "the scenario says so",
	} {
		s := &Scenario{Access: library(t), Expect: Expect{Path: path}}
		s.defaults()
		c, err := s.newCase(pair{"", Phone{Access: "udp-blocked"}, Phone{Access: "symmetric"}})
		if err != nil || !strings.HasPrefix(c.Reason, want) || c.Expect.After != path {
			t.Errorf("%s: %q, %v", path, c.Reason, err)
		}
	}
}

// TestGuideHasEveryKey holds the reference of the language in README.md against the types.
func TestGuideHasEveryKey(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	types := []reflect.Type{
		reflect.TypeFor[Scenario](), reflect.TypeFor[Access](), reflect.TypeFor[Relay](), reflect.TypeFor[Call](), reflect.TypeFor[Phone](),
		reflect.TypeFor[Matrix](), reflect.TypeFor[Event](), reflect.TypeFor[Change](), reflect.TypeFor[Cut](), reflect.TypeFor[Expect](),
		reflect.TypeFor[natlab.NetworkSpec](), reflect.TypeFor[natlab.RouterSpec](), reflect.TypeFor[natlab.HostSpec](), reflect.TypeFor[natlab.Firewall](),
		reflect.TypeFor[natlab.Link](), reflect.TypeFor[natlab.NAT](), reflect.TypeFor[natlab.PortRange](),
	}
	for _, typ := range types {
		keys := keysOf(typ)
		if len(keys) == 0 {
			t.Errorf("%v has no keys", typ)
		}
		for _, k := range keys {
			if !strings.Contains(string(page), "`"+k+"`") {
				t.Errorf("README.md does not explain `%s` of %v", k, typ)
			}
		}
	}
}
