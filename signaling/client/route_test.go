package client

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/signaling/protocol"
)

// sentTo is a welcome that names another node.
func sentTo(url string) protocol.Welcome {
	return protocol.Welcome{Session: "s1", Region: "eu", Better: &protocol.Better{URL: url, Region: "eu"}}
}

// dialled begins to dial; the client comes once the peer has welcomed it.
func (s *server) dialled(o Options) <-chan *Client {
	came := make(chan *Client, 1)
	go func() {
		c, err := Dial(s.t.Context(), o)
		if err != nil {
			s.t.Errorf("dial: %v", err)
		}
		came <- c
	}()
	return came
}

// stays fails if the client leaves p, or connects once more.
func (p *peer) stays(s *server, within time.Duration) {
	p.t.Helper()
	beat, over := time.NewTicker(3*time.Second), time.After(within)
	defer beat.Stop()
	for {
		select {
		case other := <-s.conns:
			p.t.Fatalf("connected to %s", other.host)
		case <-beat.C:
			p.raw([]byte(`{"t":"pong"}`))
		case <-over:
			return
		}
	}
}

func (s *server) acceptAt(host string) *peer {
	s.t.Helper()
	p := s.accept()
	if p.host != host {
		s.t.Errorf("connected to %q, want %q", p.host, host)
	}
	return p
}

func TestMovesWhenIdle(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		came := s.dialled(s.options())
		first := s.acceptAt("server")
		first.welcome(sentTo("ws://better"))
		c := <-came
		defer c.Close()
		// A request is open, then a call goes on: it stays.
		asked := make(chan error, 1)
		go func() { _, err := c.Presence(t.Context(), "+14155550102"); asked <- err }()
		f := first.next(protocol.TypePresenceGet)
		first.stays(s, time.Minute)
		first.raw([]byte(`{"t":"ok","re":"` + f.ID + `","d":{"number":"+14155550102"}}`))
		if err := <-asked; err != nil {
			t.Error(err)
		}
		second := s.acceptAt("better")
		if r := second.hello.Resume; r == nil || r.Session != "s1" {
			t.Errorf("resumes %v", r)
		}
		if code := first.closed(); code != websocket.CloseNormalClosure {
			t.Errorf("left with %d", code)
		}
		second.welcome(protocol.Welcome{Session: "s2", Resumed: protocol.ResumedState})
		second.ws.Close()
		again := s.acceptAt("better") // that is where it is at home now
		again.welcome(protocol.Welcome{Session: "s3", Resumed: protocol.ResumedState})
	})
}

func TestCallKeepsTheNode(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		came := s.dialled(s.options())
		first := s.acceptAt("server")
		first.welcome(sentTo("ws://better"))
		c := <-came
		defer c.Close()
		go func() {
			for range c.Events() {
			}
		}()
		first.tell(1, &protocol.CallIncoming{Call: "c1", From: number(t, "+14155550102"), Media: []protocol.Media{protocol.Audio}, SDP: "v=0", RingMS: 60_000})
		first.stays(s, time.Hour)
		first.tell(2, &protocol.CallEnded{Call: "c1", Reason: protocol.ReasonHangup})
		s.acceptAt("better").welcome(protocol.Welcome{Session: "s2", Resumed: protocol.ResumedState})
	})
}

// TestBetterNodeFails comes back at once, stays, and follows again only minutes
// later.
func TestBetterNodeFails(t *testing.T) {
	refusals := map[string]func(*peer){
		"cut":     func(p *peer) { p.ws.Close() },
		"refused": func(p *peer) { p.close(protocol.CloseToken) },
		"stops":   func(p *peer) { p.close(protocol.CloseGoingAway) },
	}
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				came := s.dialled(s.options())
				s.acceptAt("server").welcome(sentTo("ws://better"))
				c := <-came
				defer c.Close()
				refuse(s.acceptAt("better"))
				begun := time.Now()
				home := s.acceptAt("server")
				if took := time.Since(begun); took > 2*time.Second {
					t.Errorf("came back after %v", took)
				}
				home.welcome(sentTo("ws://better"))
				home.stays(s, 4*time.Minute)
				home.ws.Close()
				home = s.acceptAt("server")
				home.welcome(sentTo("ws://better"))
				home.stays(s, time.Minute) // told too soon, and not again
				home.ws.Close()
				s.acceptAt("server").welcome(sentTo("ws://better"))
				s.acceptAt("better").welcome(protocol.Welcome{Session: "s2", Resumed: protocol.ResumedState})
			})
		})
	}
}

// TestNoPingPong meets two nodes that send everybody to each other.
func TestNoPingPong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		came := s.dialled(s.options())
		s.acceptAt("server").welcome(sentTo("ws://b"))
		c := <-came
		defer c.Close()
		b := s.acceptAt("b")
		b.welcome(sentTo("ws://server"))
		b.stays(s, 6*time.Hour)
	})
}

func TestGoingAwayIsFollowed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		came := s.dialled(s.options())
		at := s.acceptAt("server")
		at.welcome(protocol.Welcome{Session: "s1"})
		c := <-came
		defer c.Close()
		for _, host := range []string{"b", "c", "d"} { // a rolling restart: always, and at once
			at.tell(0, &protocol.GoingAway{AfterMS: 1500, Better: &protocol.Better{URL: "ws://" + host, Region: "eu"}})
			begun := time.Now()
			at.close(protocol.CloseGoingAway)
			at = s.acceptAt(host)
			if took := time.Since(begun); took < time.Second || took > 3*time.Second {
				t.Errorf("came after %v, want 1.5s", took)
			}
			at.welcome(sentTo("ws://server")) // too soon after the last
			at.stays(s, 4*time.Minute)
		}
		at.tell(0, &protocol.GoingAway{AfterMS: 100}) // nowhere in particular
		at.close(protocol.CloseGoingAway)
		s.acceptAt("server").welcome(protocol.Welcome{Session: "s1"})
	})
}

// TestHintsNotFollowed are those that must not be, or that one may not want.
func TestHintsNotFollowed(t *testing.T) {
	for name, hint := range map[string]string{
		"itself": "ws://server", "a path": "ws://better/path", "no URL": "::", "nothing": "ftp://better", "a query": "ws://better/?x",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				came := s.dialled(s.options())
				p := s.acceptAt("server")
				w := sentTo("ws://server")
				w.Key, w.HeartbeatMS, w.Resumed, w.Number = "k", 30_000, protocol.ResumedNone, number(t, "+14155550101")
				w.Better.URL = hint
				p.tell(0, &w)
				select {
				case c := <-came:
					defer c.Close()
					p.stays(s, time.Hour)
				case <-time.After(time.Minute):
					t.Error("the welcome was not taken")
				}
			})
		})
	}
	t.Run("stay", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *server) {
			o := s.options()
			o.Stay = true
			came := s.dialled(o)
			w := sentTo("ws://better")
			w.Regions = []protocol.Region{{Name: "eu", Probe: "http://eu/v1/ping"}, {Name: "us", Probe: "http://us/v1/ping"}}
			p := s.acceptAt("server")
			p.welcome(w)
			c := <-came
			defer c.Close()
			p.stays(s, time.Hour)
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.pings) > 0 {
				t.Errorf("it measured: %v", s.pings)
			}
		})
	})
}

func TestNeverFromTLSToNone(t *testing.T) {
	r := route{homes: []string{"wss://server/v1/ws"}}
	for hint, want := range map[string]string{
		"ws://better": "", "http://better": "", "wss://better": "wss://better/v1/ws", "https://better:8443": "wss://better:8443/v1/ws",
	} {
		if got := r.fits(hint); got != want {
			t.Errorf("%s: %q, want %q", hint, got, want)
		}
	}
}

// TestMeasures has one region answer at once, one late and one badly.
func TestMeasures(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		s.trips = map[string]time.Duration{"eu": 20 * time.Millisecond, "us": 110 * time.Millisecond, "slow": time.Minute}
		w := protocol.Welcome{Session: "s1"}
		for _, r := range []string{"eu", "us", "slow", "login", "nowhere"} {
			w.Regions = append(w.Regions, protocol.Region{Name: r, Probe: "http://" + r + protocol.PathPing})
		}
		w.Regions[4].Probe = "file:///etc/passwd"
		came := s.dialled(s.options())
		p := s.acceptAt("server")
		p.welcome(w)
		c := <-came
		defer c.Close()
		if p.hello.RoundTrips != nil {
			t.Errorf("knew %v before", p.hello.RoundTrips)
		}
		p.stays(s, 30*time.Second)
		for range 3 { // connects again, and does not measure again
			p.ws.Close()
			p = s.acceptAt("server")
			p.welcome(w)
			p.stays(s, 10*time.Second)
			if got := p.hello.RoundTrips; len(got) != 2 || got["eu"] != 20 || got["us"] != 110 {
				t.Errorf("told %v", got)
			}
		}
		s.mu.Lock()
		if s.pings["eu"] != 4 || s.pings["us"] != 4 || s.pings["slow"] != 1 || s.pings["login"] != 1 {
			t.Errorf("probes: %v", s.pings)
		}
		s.mu.Unlock()
		p.stays(s, time.Hour)
		p.ws.Close()
		s.mu.Lock()
		s.trips["eu"] = 40 * time.Millisecond
		s.mu.Unlock()
		p = s.acceptAt("server")
		p.welcome(w)
		p.stays(s, time.Minute)
		p.ws.Close()
		if p = s.acceptAt("server"); p.hello.RoundTrips["eu"] != 40 {
			t.Errorf("an hour later it told %v", p.hello.RoundTrips)
		}
		p.welcome(w)
	})
}

// TestCloseWhileMeasuring ends at once.
// What an earlier run of the program has measured is told at once, and measured again
// when it is old.
func TestKnowsRoundTrips(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		s.trips = map[string]time.Duration{"eu": 20 * time.Millisecond, "us": 110 * time.Millisecond}
		w := protocol.Welcome{Session: "s1", Regions: []protocol.Region{{Name: "eu", Probe: "http://eu/v1/ping"}, {Name: "us", Probe: "http://us/v1/ping"}}}
		o := s.options()
		o.RoundTrips = map[string]int{"eu": 7, "us": 9}
		came := s.dialled(o)
		p := s.acceptAt("server")
		p.welcome(w)
		c := <-came
		defer c.Close()
		if got := p.hello.RoundTrips; len(got) != 2 || got["eu"] != 7 || got["us"] != 9 {
			t.Errorf("told %v at first", got)
		}
		p.stays(s, 2*time.Hour)
		for _, want := range []int{7, 20} { // measured after the second welcome
			p.ws.Close()
			p = s.acceptAt("server")
			p.welcome(w)
			p.stays(s, time.Minute)
			if got := p.hello.RoundTrips["eu"]; got != want {
				t.Errorf("told %d, want %d", got, want)
			}
		}
	})
	many := map[string]int{}
	for i := range protocol.MaxRegions + 1 {
		many[fmt.Sprint("r", i)] = i
	}
	for name, trips := range map[string]map[string]int{
		"negative": {"eu": -1}, "too long": {"eu": protocol.MaxRoundTrip + 1}, "without a name": {"": 1}, "too many": many,
	} {
		if _, err := (Options{URL: "http://server", Token: "t", RoundTrips: trips}).complete(); err == nil {
			t.Errorf("round trips that are %s are taken", name)
		}
	}
}

func TestCloseWhileMeasuring(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		s.trips = map[string]time.Duration{"eu": time.Hour, "us": time.Hour}
		w := protocol.Welcome{Session: "s1", Regions: []protocol.Region{{Name: "eu", Probe: "http://eu/v1/ping"}, {Name: "us", Probe: "http://us/v1/ping"}}}
		came := s.dialled(s.options())
		s.acceptAt("server").welcome(w)
		c := <-came
		time.Sleep(measureAfter + time.Second)
		synctest.Wait()
		begun := time.Now()
		c.Close()
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("took %v to close", took)
		}
	})
}
