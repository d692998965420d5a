package region

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/signaling/protocol"
)

func TestWhoTakesDevices(t *testing.T) {
	good := Node{Name: "b", Region: "eu", URL: "wss://b", Max: 100}
	with := func(change func(*Node)) Node { n := good; change(&n); return n }
	for _, test := range []struct {
		name string
		node Node
		want bool
	}{
		{"a node", good, true},
		{"of another region", with(func(n *Node) { n.Region = "us" }), false},
		{"the node itself", with(func(n *Node) { n.Name = "a" }), false},
		{"draining", with(func(n *Node) { n.Draining = true }), false},
		{"without a URL", with(func(n *Node) { n.URL = "" }), false},
		{"nearly full", with(func(n *Node) { n.Sessions = 90 }), false},
		{"not quite", with(func(n *Node) { n.Sessions = 89 }), true},
		{"more than full", with(func(n *Node) { n.Sessions = 900 }), false},
		{"of unknown size", with(func(n *Node) { n.Sessions, n.Max = 900, 0 }), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var want *protocol.Better
			if test.want {
				want = &protocol.Better{URL: "wss://b", Region: "eu"}
			}
			if diff := cmp.Diff(want, Among([]Node{test.node}, "a").In("eu")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTwoChoices takes the less busy one, whichever comes first.
func TestTwoChoices(t *testing.T) {
	nodes := []Node{{Name: "b", Region: "eu", URL: "wss://b", Sessions: 50, Max: 100}, {Name: "c", Region: "eu", URL: "wss://c", Sessions: 80, Max: 400}}
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		n := Among(nodes, "a")
		n.random = func(int) int { i := order[0]; order = order[1:]; return i }
		if got := n.In("eu"); got.URL != "wss://c" {
			t.Errorf("order %v: got %v", order, got)
		}
	}
}

// TestSpread sends the devices of a node away at once.
func TestSpread(t *testing.T) {
	n := Among([]Node{
		{Name: "a", Region: "eu", URL: "wss://a", Max: 10_000, Sessions: 9000},
		{Name: "b", Region: "eu", URL: "wss://b", Max: 10_000},
		{Name: "c", Region: "eu", URL: "wss://c", Max: 10_000},
		{Name: "d", Region: "eu", URL: "wss://d", Max: 10_000, Sessions: 2000},
		{Name: "e", Region: "us", URL: "wss://e", Max: 100},
	}, "a")
	got := map[string]int{}
	for range 6000 {
		if b := n.InOrElse("eu"); b != nil {
			got[b.URL]++
		}
	}
	for url, about := range map[string]int{"wss://a": 0, "wss://b": 2600, "wss://c": 2600, "wss://d": 700, "wss://e": 0} {
		if diff := got[url] - about; diff > 200 || diff < -200 {
			t.Errorf("%s got %d, want about %d", url, got[url], about)
		}
	}
}

// TestFullWhileGivenOut stops when what was given out has filled the nodes.
func TestFullWhileGivenOut(t *testing.T) {
	n := Among([]Node{{Name: "b", Region: "eu", URL: "wss://b", Max: 10}}, "a")
	given := 0
	for range 100 {
		if n.InOrElse("eu", "us") != nil {
			given++
		}
	}
	if given != 9 {
		t.Errorf("gave out %d places of 9", given)
	}
}

func TestGuide(t *testing.T) {
	g := New(world, Deps{Here: "us", Self: func() string { return "a" }, Nodes: func() []Node {
		return []Node{{Name: "a", Region: "us", URL: "wss://a"}, {Name: "b", Region: "eu", URL: "wss://b"}, {Name: "c", Region: "us", URL: "wss://c"}}
	}})
	eu, us := &protocol.Better{URL: "wss://b", Region: "eu"}, &protocol.Better{URL: "wss://c", Region: "us"}
	if diff := cmp.Diff(eu, g.Better("eu")); diff != "" {
		t.Error("better in eu:", diff)
	}
	for _, region := range []string{"us", "ca"} {
		if got := g.Better(region); got != nil {
			t.Errorf("better in %s: %v", region, got)
		}
	}
	leave := g.Leave()
	for region, want := range map[string]*protocol.Better{"eu": eu, "us": us, "ca": us} {
		if diff := cmp.Diff(want, leave(region)); diff != "" {
			t.Errorf("leaving, of %s: %s", region, diff)
		}
	}
	if diff := cmp.Diff([]protocol.Region{{Name: "eu", Probe: "https://eu.example/v1/ping"}, {Name: "us", Probe: "https://us.example/v1/ping"}}, g.Probes()); diff != "" {
		t.Error("probes:", diff)
	}
}
