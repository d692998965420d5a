package signaling

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

func TestListSessions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		tokens := []string{w.device(n1, alice), w.device(n1, bob), w.device(n1, carol)}
		n2.connect(tokens[0])
		n2.hello(&protocol.Hello{Token: tokens[1], Away: true})
		n2.connect(tokens[2]).cut()
		synctest.Wait()

		var got []SessionInfo
		for q := (SessionQuery{Limit: 1}); ; {
			p, err := n1.server.ListSessions(t.Context(), "n2", q)
			if err != nil || len(p.Sessions) != 1 {
				t.Fatalf("page after %q: %+v, %v", q.After, p, err)
			}
			got = append(got, p.Sessions...)
			if q.After = p.Sessions[0].ID; !p.More {
				break
			}
		}
		states := map[directory.Account]SessionState{}
		for _, s := range got {
			states[s.Account] = s.State
			if s.Since.IsZero() || s.ID == "" {
				t.Errorf("session %+v", s)
			}
		}
		for i, want := range []SessionState{SessionConnected, SessionVisitor, SessionWaiting} {
			if got := states[w.tokens[tokens[i]].Account]; got != want || len(states) != 3 {
				t.Errorf("session %d is %q, want %q", i, got, want)
			}
		}
		own, err := n2.server.ListSessions(t.Context(), "n2", SessionQuery{})
		if err != nil || !reflect.DeepEqual(own.Sessions, got) {
			t.Errorf("the node itself lists %+v, %v; another %+v", own, err, got)
		}
		if text, _ := json.Marshal(own); strings.Contains(string(text), "415555") {
			t.Errorf("a number is told: %s", text)
		}
		of := w.tokens[tokens[0]].Account
		if p, err := n1.server.ListSessions(t.Context(), "n2", SessionQuery{Account: of}); err != nil || len(p.Sessions) != 1 || p.Sessions[0].Account != of {
			t.Errorf("sessions of an account: %+v, %v", p, err)
		}
		if p, err := n1.server.ListSessions(t.Context(), "n1", SessionQuery{}); err != nil || len(p.Sessions) != 0 || p.More {
			t.Errorf("sessions of an empty node: %+v, %v", p, err)
		}
		if _, err := n1.server.ListSessions(t.Context(), "n3", SessionQuery{}); !errors.Is(err, directory.ErrGone) {
			t.Errorf("sessions of a node that is not there: %v", err)
		}
		if _, err := n2.server.Answer(t.Context(), directory.Request{Kind: kindSessions, Data: []byte("[")}); err == nil {
			t.Error("a request that is no JSON was answered")
		}
	})
}

// Page by page, whatever their size, each session comes once and in order.
func TestPages(t *testing.T) {
	s := &Server{byID: map[string]*session{}}
	var want []string
	for range 1234 {
		id := newSecret()[:20]
		s.byID[id], want = &session{id: id, account: "0000000000001"}, append(want, id)
	}
	slices.Sort(want)
	for _, limit := range []int{0, 1, 7, 500, 617, 2000} {
		var got []string
		for q := (SessionQuery{Limit: limit}); ; q.After = got[len(got)-1] {
			p := s.page(q)
			for _, i := range p.Sessions {
				got = append(got, i.ID)
			}
			if n := len(p.Sessions); n > MaxSessionPage || n == 0 || p.More && limit > 0 && n != min(limit, MaxSessionPage) {
				t.Fatalf("limit %d: a page of %d", limit, n)
			}
			if !p.More {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %d sessions, %d are there, or in another order", limit, len(got), len(want))
		}
	}
}

func TestEndSession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		for i, n := range []*node{n1, n2} {
			token := w.device(n1, []string{alice, bob}[i])
			id := w.tokens[token]
			if err := n1.server.EndSession(t.Context(), id.Account, id.Device); !errors.Is(err, ErrNoSession) {
				t.Errorf("ending none: %v", err)
			}
			p := n.connect(token)
			if err := n1.server.EndSession(t.Context(), id.Account, id.Device); err != nil {
				t.Fatal(err)
			}
			if code := p.closedWith(); code != protocol.CloseOperator || !code.Reconnect() {
				t.Errorf("closed with %v", code)
			}
			synctest.Wait()
			if pr, _ := n1.dir.PresenceOf(t.Context(), id.Account); pr.Online {
				t.Error("still online")
			}
			n.connect(token) // may come back
		}
	})
}

func TestEndSessionByName(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		token := w.device(n1, alice)
		for _, hello := range []*protocol.Hello{{Token: token}, {Token: token, Away: true}} {
			for _, asked := range []*node{n1, n2} {
				p := n2.hello(hello)
				if err := asked.server.EndSessionAt(t.Context(), "n2", p.welcome.Session); err != nil {
					t.Fatal(err)
				}
				if code := p.closedWith(); code != protocol.CloseOperator {
					t.Errorf("closed with %v", code)
				}
				if err := asked.server.EndSessionAt(t.Context(), "n2", p.welcome.Session); !errors.Is(err, ErrNoSession) {
					t.Errorf("ending it again: %v", err)
				}
			}
		}
		if err := n1.server.EndSessionAt(t.Context(), "n3", "x"); !errors.Is(err, directory.ErrGone) {
			t.Errorf("on a node that is not there: %v", err)
		}
	})
}
