package scenario

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/relay/natlab"
)

// write makes a directory with files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// problems loads one file beside our accesses and returns what is wrong, without its name.
func problems(t *testing.T, text string) []string {
	t.Helper()
	access, err := os.ReadFile(filepath.Join(ours, accessFile))
	if err != nil {
		t.Fatal(err)
	}
	dir := write(t, map[string]string{"x.yaml": text, accessFile: string(access)})
	_, err = Load(dir, "x")
	if err == nil {
		return nil
	}
	ps, ok := errors.AsType[Problems](err)
	if !ok {
		t.Fatalf("%v", err)
	}
	var lines []string
	for _, p := range ps {
		if p.File != filepath.Join(dir, "x.yaml") {
			t.Errorf("problem of %s", p.File)
		}
		p.File = ""
		lines = append(lines, p.String())
	}
	return lines
}

// TestEveryProblemAtOnce has many in one file, of all layers that are looked at together.
func TestEveryProblemAtOnce(t *testing.T) {
	got := problems(t, `engines: [virtual, cloud]
relay: {}
access:
  Hotel:
    routers:
      - nat: {mapping: sometimes, timeout: 5}
        inside: here
        ipv6: 6to4
    network: {link: {loss: 2, delay: -1s}}
  symmetric: {routers: []}
signaling: [n1, n1]
call:
  caller: {access: symetric}
  callee: {access: open, host: bob}
  talk: 1h
events:
  - {at: 5s, kill: relay-9}
  - {at: 3s}
  - {at: 6s, start: relay, drain: n1}
  - {at: 7s, start: relay}
  - {at: soon, kill: relay}
  - {at: 8s, cut: {network: home-a, for: 0s}}
expect: {path: fast, gap: -1s, lost: 1.5}
`)
	want := []string{
		`: about: a sentence must say what the scenario shows`,
		`:1: engines[1]: "cloud" is not one of [virtual kernel]`,
		`:2: relay: there is no such key; there are about, engines, why, networks, routers, hosts, access, signaling, relays, no_relays, call, matrix, events, expect`,
		`:4: access.Hotel: "Hotel" is no name: 1 to 32 of a-z, 0-9 and hyphens`,
		`:6: access.Hotel.routers[0].nat.mapping: behaviour "sometimes": not one of [endpoint-independent address-dependent address-and-port-dependent]`,
		`:6: access.Hotel.routers[0].nat.timeout: "5" is no time: 300ms, 5s and 2m are`,
		`:6: access.Hotel.routers[0]: inside and outside follow from the order: the first is the phone's own`,
		`:8: access.Hotel.routers[0].ipv6: "6to4" is neither "routed" nor "blackhole"`,
		`:9: access.Hotel.network.link.delay: -1s is negative`,
		`:9: access.Hotel.network.link.loss: 2 is not a share from 0 to 1`,
		`:10: access.symmetric: it is in access.yaml already; take another name`,
		`:11: signaling[1]: the name "n1" is that of another host, too`,
		`:13: call.caller.access: there is no access "symetric"; is it symmetric?`,
		`:14: call.callee: exactly one of host, access and same_as must be set`,
		`:15: call.talk: 1h0m0s is not between 0s and 10m0s`,
		`:17: events[0].kill: there is no relay or signaling node "relay-9"; there are relay, n1, n1`,
		`:18: events[1].at: 3s is before the event above it: they happen in their order`,
		`:18: events[1]: one thing must happen, of kill, drain, start, move, join, leave, reboot and cut; there are 0`,
		`:19: events[2]: one thing must happen, of kill, drain, start, move, join, leave, reboot and cut; there are 2`,
		`:20: events[3].start: relay has not been killed or drained before`,
		`:21: events[4].at: "soon" is no time: 300ms, 5s and 2m are`,
		`:22: events[5].cut.for: 0s is not between 1ms and 10m0s`,
		`:23: expect.gap: -1s is not between 0s and 10m0s`,
		`:23: expect.lost: 1.5 is not a share from 0 to 1`,
		`:23: expect.path: "fast" is not one of [theory any none host direct relay/udp relay/tcp relay/tls]`,
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestProblems(t *testing.T) {
	const call = "about: x\ncall: {caller: {access: open}, callee: {access: symmetric}}\n"
	tests := []struct{ name, text, want string }{
		{"nothing in it", "", ": there is nothing in it"},
		{"no YAML", "about: [", ":1: this is no YAML: did not find expected node content"},
		{"a list", "- about: x", ": keys with values belong here, not a list"},
		{"two documents", call + "---\nabout: y\n", ": there is more than one document in it"},
		{"a key twice", call + "about: y\n", ":1: about: it is there twice"},
		{"a list for a word", "about: [x]\n" + call[9:], ":1: about: a word belongs here, not a list"},
		{"a word for a list", call + "engines: kernel\n", ":3: engines: a list belongs here, not \"kernel\""},
		{"a word for a truth", call + "no_relays: perhaps\n", ":3: no_relays: true or false belongs here, not \"perhaps\""},
		{"a port too large", call + "access: {a: {routers: [{firewall: {tcp_ports: [70000]}}]}}\n", ":3: access.a.routers[0].firewall.tcp_ports[0]: a whole number that fits belongs here, not \"70000\""},
		{"one engine, no why", call + "engines: [kernel]\n", ": why: a sentence must say why it is for one engine alone"},
		{"relays and none", call + "no_relays: true\nrelays: {r: {region: eu}}\n", ":3: no_relays: there are relays, too"},
		{"a relay's data path", call + "relays: {r: {data_path: xdp}}\n", ":3: relays.r.data_path: \"xdp\" is none of auto, ebpf, user, plain"},
		{"a relay's name", call + "relays: {relay-of-europe: {region: eu}}\n", ":3: relays.relay-of-europe: \"relay-of-europe\" is no name: 1 to 12 of a-z, 0-9 and hyphens"},
		{"four NATs", call + "access: {a: {routers: [{}, {}, {}, {}]}}\n", ":3: access.a.routers: there are 4; at most 3 are in a row"},
		{"a call and a matrix", call + "matrix: {callers: [open], callees: [open]}\n", ":2: call: the matrix says who calls whom; only talk may stand beside it"},
		{"an empty matrix", "about: x\nmatrix: {callers: [], callees: [open]}\n", ":2: matrix.callers: there is none"},
		{"no pair on the diagonal", "about: x\nmatrix: {callers: [symmetric], callees: [open], only: diagonal}\n", ":2: matrix: there is no pair in it"},
		{"half a pair", "about: x\nmatrix: {callers: [open], callees: [open], only: diagonal, also: [[open]]}\n", ":2: matrix.also[0]: a pair is two accesses, not 1"},
		{"also of all", "about: x\nmatrix: {callers: [open], callees: [open], also: [[open, symmetric]]}\n", ":2: matrix.also: it is for pairs beside the diagonal: without only: diagonal there are all"},
		{"same as itself", "about: x\ncall: {caller: {access: open}, callee: {same_as: callee}}\n", ":2: call.callee.same_as: it is the other side: caller or callee"},
		{"same as each other", "about: x\ncall: {caller: {same_as: callee}, callee: {access: open}}\n", ""},
		{"an unknown host", "about: x\ncall: {caller: {host: carol}, callee: {access: open}}\n", ":2: call.caller.host: there is no host \"carol\""},
		{"a host in no known network", "about: x\nhosts: {carol: {networks: [moon]}}\ncall: {caller: {host: carol}, callee: {access: open}}\n", ":2: hosts.carol: network \"moon\" is unknown"},
		{"an unknown router", call + "events: [{at: 1s, reboot: nat-a}]\n", ":3: events[0].reboot: there is no router \"nat-a\"; there are nat-b"},
		{"an unknown network", call + "events: [{at: 1s, cut: {network: home-a, for: 1s}}]\n", ":3: events[0].cut.network: there is no network \"home-a\"; there are home-b"},
		{"a move to nowhere", call + "events: [{at: 1s, move: {host: alice, network: wifi}}]\n", ":3: events[0].move.network: alice has no network \"wifi\"; it has internet"},
		{"a move of nobody", call + "events: [{at: 1s, move: {host: carol, network: wifi}}]\n", ":3: events[0].move.host: there is no host \"carol\""},
		{"what theory does not know", "about: x\naccess: {odd: {routers: [{nat: {mapping: address-dependent}}, {nat: {filtering: address-dependent}}]}}\ncall: {caller: {access: odd}, callee: {access: symmetric}}\n",
			": expect.path: theory has no answer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := problems(t, test.text)
			if test.want == "" && len(got) == 0 {
				return
			}
			if len(got) != 1 || !strings.HasPrefix(got[0], test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestLoadByName(t *testing.T) {
	const good = "about: x\ncall: {caller: {access: home}, callee: {access: home}}\n"
	dir := write(t, map[string]string{"relay-killed.yaml": good, "relay-drained.yaml": good, "vpn.yaml": good, accessFile: "home: {routers: [{nat: {}}]}\n"})
	list, err := Load(dir)
	if err != nil || len(list) != 3 || list[0].Name != "relay-drained" || list[0].Cases()[0].Expect.Path != Direct {
		t.Errorf("all: %v, %v", list, err)
	}
	list, err = Load(t.TempDir(), filepath.Join(dir, "vpn.yaml"))
	if err == nil {
		t.Errorf("from an empty directory: %v", list)
	}
	if list, err = Load(dir, "vpn", filepath.Join(dir, "vpn.yaml")); err != nil || len(list) != 2 || list[1].Name != "vpn" {
		t.Errorf("by name and by path: %v, %v", list, err)
	}
	for name, want := range map[string]string{
		"relay-kiled": "is it relay-killed?", "relay": "is it relay-killed or relay-drained?", "zebra": "no scenario \"zebra\" in",
	} {
		_, err := Load(dir, name, "vpn")
		if u, ok := errors.AsType[*UnknownError](err); !ok || u.Name != name || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(filepath.Join(dir, "nowhere")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no directory: %v", err)
	}
	if _, err := Load(dir, "./nowhere.yaml"); err == nil || !strings.Contains(err.Error(), "./nowhere.yaml: no such file") {
		t.Errorf("no file: %v", err)
	}
}

// TestAccessesOfBothSides looks at what is made of one access on two sides.
func TestAccessesOfBothSides(t *testing.T) {
	s := &Scenario{Name: "x", Access: library(t), NoRelays: true}
	six := s.Access["nat64"]
	six.Network.Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:66::/64")}
	s.Access["six"] = six
	s.defaults()
	c, err := s.newCase(pair{"six × double-nat", Phone{Access: "six"}, Phone{Access: "double-nat"}})
	if err != nil {
		t.Fatal(err)
	}
	want := natlab.Topology{
		Networks: map[string]natlab.NetworkSpec{
			"home-a": {Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:66::/64")}}, "home-b": {}, "carrier-b": {},
		},
		Routers: map[string]natlab.RouterSpec{
			"nat-a": {Inside: "home-a", Outside: "internet", IPv6: natlab.IPv6Routed, NAT: &natlab.NAT{Filtering: natlab.AddressAndPortDependent, NAT64: true}},
			"nat-b": {Inside: "home-b", Outside: "carrier-b", NAT: &natlab.NAT{Filtering: natlab.AddressAndPortDependent}},
			"cgn-b": {Inside: "carrier-b", Outside: "internet", NAT: &natlab.NAT{Filtering: natlab.AddressAndPortDependent, Ports: natlab.RandomPorts, Hairpin: true}},
		},
		Hosts: map[string]natlab.HostSpec{
			"alice": {Networks: []string{"home-a"}}, "bob": {Networks: []string{"home-b"}},
			"signaling": {Networks: []string{"internet"}}, "stun": {Networks: []string{"internet"}},
		},
	}
	if diff := cmp.Diff(want, c.Topology, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if c.STUN != "stun" || c.Expect.Path != None || c.Talk != 2*time.Second || c.Expect.ConnectWithin != 5*time.Second {
		t.Errorf("%+v", c)
	}
}

func TestNextPrefix(t *testing.T) {
	for p, want := range map[string]string{
		"192.168.64.0/24": "192.168.65.0/24", "10.0.0.0/8": "11.0.0.0/8", "10.255.0.0/16": "11.0.0.0/16", "100.64.0.0/10": "100.128.0.0/10",
		"2001:db8:64::/64": "2001:db8:64:1::/64", "2001:db8:64:fff0::/60": "2001:db8:65::/60",
	} {
		if got := next(netip.MustParsePrefix(p)); got != netip.MustParsePrefix(want) {
			t.Errorf("after %s: %v, want %s", p, got, want)
		}
	}
}

func TestLostIsThatOfTheLinks(t *testing.T) {
	list, err := Load(ours, "matrix")
	if err != nil {
		t.Fatal(err)
	}
	c := list[0].Cases()[0]
	c.Expect.Lost = 0
	c.Topology.Networks["home-a"] = natlab.NetworkSpec{Link: natlab.Link{Loss: 0.1}}
	if c.bounds(); c.Expect.Lost != 0.12 {
		t.Errorf("got %v", c.Expect.Lost)
	}
}

func TestChoose(t *testing.T) {
	list, err := Load(ours, "classic")
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]int{
		"symmetric × full-cone": 1, "symmetric x full-cone": 1, "symmetric×full-cone": 1, "caller=symmetric,callee=full-cone": 1,
		"caller=symmetric": 7, "callee=tls-only": 7, " callee=tls-only , caller=tls-only": 1,
	} {
		if got, err := Choose(list[0].Cases(), word); err != nil || len(got) != want {
			t.Errorf("%s: %d cases, %v", word, len(got), err)
		}
	}
	for word, want := range map[string]string{
		"symetric × full-cone": `is it "symmetric × full-cone"?`, "caller=hotel": `there is no case "caller=hotel"`,
		"phone=a": "it is a name, or caller=ACCESS", "": "there is no case",
	} {
		if _, err := Choose(list[0].Cases(), word); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

// FuzzDecode: no file makes the reader fail in another way than by naming problems.
func FuzzDecode(f *testing.F) {
	names, _ := filepath.Glob(ours + "/*.yaml")
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(_ *testing.T, text string) {
		s := &Scenario{Access: map[string]Access{}}
		x := &file{shown: "x", lines: map[string]int{}}
		x.decode([]byte(text), s)
		s.defaults()
		if x.check(s); len(x.problems) == 0 {
			x.expand(s)
		}
	})
}
