package signaling

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/directory"
	"switchboard/signaling/protocol"
	"switchboard/signaling/region"
)

// testRegions are those of guided nodes.
var testRegions = region.Config{
	List: []region.Region{
		{Name: "eu", Countries: []string{"DE"}, Probe: "https://eu.example/v1/ping"},
		{Name: "us", Countries: []string{"+1"}, Probe: "https://us.example/v1/ping"},
	},
}

// guided starts a node of a region that knows the others.
func (w *world) guided(name, here string, others ...region.Node) *node {
	w.regions = region.New(testRegions, region.Deps{
		Here: here, Self: func() string { return name }, Nodes: func() []region.Node { return others },
	})
	defer func() { w.regions = nil }()
	return w.node(name)
}

func TestWelcomeNamesABetterNode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		other := region.Node{Name: "b", Region: "us", URL: "wss://b.us.example", Max: 100}
		eu := w.guided("a", "eu", other)
		us := w.guided("b", "us", other)
		token := w.device(eu, alice)
		better := &protocol.Better{URL: "wss://b.us.example", Region: "us"}
		regions := []protocol.Region{{Name: "eu", Probe: "https://eu.example/v1/ping"}, {Name: "us", Probe: "https://us.example/v1/ping"}}

		for _, test := range []struct {
			name  string
			node  *node
			hello protocol.Hello
			want  place
		}{
			{"by the number", eu, protocol.Hello{}, place{region: "us", regions: regions, better: better}},
			{"right already", us, protocol.Hello{}, place{region: "us", regions: regions}},
			{"measured", eu, protocol.Hello{RoundTrips: map[string]int{"eu": 10, "us": 100}}, place{region: "eu", regions: regions}},
			{"measured unknown regions", eu, protocol.Hello{RoundTrips: map[string]int{"moon": 1, "mars": 2}}, place{region: "us", regions: regions, better: better}},
			{"away", eu, protocol.Hello{Away: true}, place{region: "us", regions: regions}},
		} {
			h := test.hello
			h.Token = token
			p := test.node.hello(&h)
			got := place{region: p.welcome.Region, regions: p.welcome.Regions, better: p.welcome.Better}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(place{})); diff != "" {
				t.Errorf("%s: %s", test.name, diff)
			}
			p.cut()
		}
	})
}

// TestResumedWelcomeNamesABetterNode measures during the session.
func TestResumedWelcomeNamesABetterNode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		eu := w.guided("a", "eu", region.Node{Name: "b", Region: "us", URL: "wss://b"})
		token := w.device(eu, alice)
		trips := map[string]int{"eu": 10, "us": 100}
		first := eu.hello(&protocol.Hello{Token: token, RoundTrips: trips})
		if first.welcome.Better != nil {
			t.Fatalf("sent to %v", first.welcome.Better)
		}
		first.cut()
		trips = map[string]int{"eu": 100, "us": 10}
		again := eu.hello(&protocol.Hello{Token: token, RoundTrips: trips, Resume: &protocol.Resume{Session: first.welcome.Session, Key: first.welcome.Key}})
		if again.welcome.Resumed != protocol.ResumedFull || again.welcome.Better == nil || again.welcome.Region != "us" {
			t.Errorf("resumed %s, region %q, better %v", again.welcome.Resumed, again.welcome.Region, again.welcome.Better)
		}
	})
}

// Operators see of each session where its device is best served, and why, and what it
// has measured if they ask for one account's; also at another node.
func TestSessionsTellTheirRegions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		eu, us := w.guided("a", "eu"), w.guided("b", "us")
		token, other := w.device(eu, alice), w.device(eu, bob)
		trips := map[string]int{"eu": 10, "us": 100}
		us.hello(&protocol.Hello{Token: token, RoundTrips: trips})
		us.hello(&protocol.Hello{Token: other})
		for name, test := range map[string]struct {
			account directory.Account
			region  string
			reason  region.Reason
			trips   map[string]int
		}{
			"measured":   {w.tokens[token].Account, "eu", region.ByRoundTrip, trips},
			"not at all": {w.tokens[other].Account, "us", region.ByNumber, nil},
		} {
			p, err := eu.server.ListSessions(t.Context(), "b", SessionQuery{Account: test.account})
			if err != nil || len(p.Sessions) != 1 {
				t.Fatalf("%s: %+v, %v", name, p, err)
			}
			if s := p.Sessions[0]; s.Region != test.region || s.Reason != test.reason || !maps.Equal(s.RoundTrips, test.trips) {
				t.Errorf("%s: %+v", name, s)
			}
		}
		all, err := eu.server.ListSessions(t.Context(), "b", SessionQuery{})
		if err != nil || len(all.Sessions) != 2 {
			t.Fatalf("all: %+v, %v", all, err)
		}
		for _, s := range all.Sessions {
			if s.RoundTrips != nil || s.Region == "" {
				t.Errorf("of all: %+v", s)
			}
		}
	})
}

func TestWithoutRegions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("a")
		p := n.hello(&protocol.Hello{Token: w.device(n, alice), RoundTrips: map[string]int{"eu": 1}})
		if p.welcome.Region != "" || p.welcome.Regions != nil || p.welcome.Better != nil {
			t.Errorf("got %+v", p.welcome)
		}
	})
}

// TestBadRoundTrips closes with a reason, and takes nothing up.
func TestBadRoundTrips(t *testing.T) {
	many := map[string]int{}
	for i := range protocol.MaxRegions + 1 {
		many[fmt.Sprint(i)] = i
	}
	inWorld(t, func(t *testing.T, w *world) {
		n := w.guided("a", "eu")
		token := w.device(n, alice)
		for name, trips := range map[string]string{
			"too many":   mapJSON(many),
			"negative":   `{"eu":-1}`,
			"too long":   `{"eu":60001}`,
			"no number":  `{"eu":"fast"}`,
			"a fraction": `{"eu":1.5}`,
			"no name":    `{"":1}`,
			"long name":  `{"` + strings.Repeat("a", 33) + `":1}`,
			"a list":     `[1]`,
		} {
			p := n.dial()
			p.sendRaw([]byte(`{"t":"hello","d":{"token":"` + token + `","round_trips":` + trips + `}}`))
			if code := p.closedWith(); code != protocol.CloseProtocol {
				t.Errorf("%s: closed with %v", name, code)
			}
		}
	})
}

func mapJSON(m map[string]int) string {
	var b strings.Builder
	for k, v := range m {
		fmt.Fprintf(&b, `,"%s":%d`, k, v)
	}
	return "{" + b.String()[1:] + "}"
}

// TestGoingAwaySpreadsDevices drains a node whose devices belong to two regions.
func TestGoingAwaySpreadsDevices(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.guided("a", "eu",
			region.Node{Name: "a", Region: "eu", URL: "wss://a"},
			region.Node{Name: "b", Region: "eu", URL: "wss://b", Max: 1000},
			region.Node{Name: "c", Region: "eu", URL: "wss://c", Max: 1000},
			region.Node{Name: "d", Region: "eu", URL: "wss://d", Draining: true},
			region.Node{Name: "e", Region: "us", URL: "wss://e"},
		)
		var eu, us []*phone
		for i := range 20 {
			token := w.device(n, fmt.Sprintf("+1415555%04d", 100+i))
			near := protocol.Hello{Token: token, RoundTrips: map[string]int{"eu": 10, "us": 100}}
			if i < 4 {
				near.RoundTrips = map[string]int{"eu": 100, "us": 10}
				us = append(us, n.hello(&near))
			} else {
				eu = append(eu, n.hello(&near))
			}
		}
		n.server.Drain()
		got := map[string]int{}
		for _, p := range append(eu, us...) {
			if away := expect[*protocol.GoingAway](p); away.Better != nil {
				got[away.Better.URL]++
			}
		}
		if got["wss://b"]+got["wss://c"] != 16 || got["wss://b"] < 4 || got["wss://c"] < 4 || got["wss://e"] != 4 {
			t.Errorf("sent to %v", got)
		}
		time.Sleep(w.config.DrainFor * 2)
	})
}

func TestPing(t *testing.T) {
	w := httptest.NewRecorder()
	Ping(w, httptest.NewRequest(http.MethodGet, protocol.PathPing, nil))
	if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Cache-Control") != "no-store" || w.Body.Len() > 0 {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
}

// regionsOf is a guide as the dependency, nil for none.
func regionsOf(g *region.Guide) Regions {
	if g == nil {
		return nil
	}
	return g
}
