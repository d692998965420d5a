package admin

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
	"switchboard/signaling"
	"switchboard/signaling/admin/admintest"
	"switchboard/signaling/cdr/cdrtest"
	"switchboard/signaling/protocol"
	"switchboard/signaling/push"
	"switchboard/signaling/region"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	alice   = "+14155550101"
	nobody  = "+14155550199"
	goodKey = "0123456789abcdef0123456789abcdef"
)

// office is an API with all that it works with, in memory.
type office struct {
	t        testing.TB
	dir      *directorytest.Fake
	sessions *sessions
	pushes   *pushes
	calls    *cdrtest.Fake
	relay    relayFake
	nodes    []Node
	listing  func() // called when the nodes are listed
	removed  []directory.Device
	fail     error // what counting and removing answer
	api      *API
	url      string
	checker  *admintest.Checker
	client   *Client
	log      *lockedBuffer

	account directory.Account
	device  directory.Device
}

// open serves an API until the test ends. One account is there, with a device
// that is connected to another node.
func open(t testing.TB) *office {
	t.Helper()
	world := directorytest.NewWorld()
	o := &office{t: t, dir: world.Node("n1-a"), sessions: &sessions{pages: map[string][]signaling.SessionInfo{}}, pushes: &pushes{}, calls: cdrtest.New(), log: &lockedBuffer{}}
	o.nodes = []Node{
		{Incarnation: "n1-a", Node: "n1", Region: "eu", Started: time.Now(), Self: true},
		{Incarnation: "n2-b", Node: "n2", Region: "eu", Started: time.Now()},
		{Incarnation: "n2-c", Node: "n2", Region: "ap", Started: time.Now()},
	}
	tokens, err := OpenTokens(tokenFile(t, "ann "+goodKey))
	if err != nil {
		t.Fatal(err)
	}
	api, err := New(Deps{
		Numbers: o.dir, People: o.dir, Presence: o.dir, Fleet: o, Sessions: o.sessions, Tokens: tokens,
		Waiting: func(context.Context, directory.Account, directory.Device) (int, error) { return 3, o.fail },
		Remove: func(_ context.Context, _ directory.Account, d directory.Device) error {
			o.removed = append(o.removed, d)
			return o.fail
		},
		Pushes: o.pushes, Calls: o.calls, Routing: o.routing(), Relay: &o.relay,
		Relays: func() []Relay {
			return []Relay{
				{Name: "relay-1.abcd1234", Region: "eu", State: "draining", URLs: []string{"turn:192.0.2.1:3478"}, Here: true, Allocations: new(2), Max: 100},
				{State: "configured", URLs: []string{"stun:192.0.2.2:3478"}},
			}
		},
		Log: slog.New(slog.NewJSONHandler(o.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	o.api = api
	s := httptest.NewServer(api)
	t.Cleanup(s.Close)
	o.url = s.URL
	o.checker = admintest.NewChecker(t, Document(), &http.Transport{DisableKeepAlives: true})
	o.client = &Client{URL: s.URL, Token: goodKey, HTTP: &http.Client{Transport: o.checker}}
	o.populate(world)
	t.Cleanup(func() {
		if strings.Contains(o.log.String(), "415555") || strings.Contains(o.log.String(), goodKey) {
			t.Errorf("a number or a token is in the log:\n%s", o.log)
		}
	})
	return o
}

func (o *office) populate(w *directorytest.World) {
	o.t.Helper()
	n, err := e164.Parse(alice, "")
	if err != nil {
		o.t.Fatal(err)
	}
	acct, err := o.dir.Register(o.t.Context(), n)
	if err != nil {
		o.t.Fatal(err)
	}
	dev, err := o.dir.AddDevice(o.t.Context(), acct.Account, "Alice's phone", "")
	if err != nil {
		o.t.Fatal(err)
	}
	o.account, o.device = acct.Account, dev.Device
	if err := o.dir.AddContacts(o.t.Context(), o.account, []e164.Number{n}); err != nil {
		o.t.Fatal(err)
	}
	if _, _, err := w.Node("n2-b").Bind(o.t.Context(), o.account, o.device, "s5"); err != nil {
		o.t.Fatal(err)
	}
	for i := range 7 {
		o.sessions.pages["n2-b"] = append(o.sessions.pages["n2-b"], signaling.SessionInfo{
			ID: fmt.Sprint("s", i), Account: o.account, Device: o.device, Since: time.Now(), State: signaling.SessionConnected, Remote: "192.0.2.7",
		})
	}
}

// routing knows two relays of eu and one of us.
func (o *office) routing() Routing {
	return Routing{
		Rank: func(call, in string) ([]region.Candidate, []string) {
			return region.RankRelays([]region.Relay{
				{Name: "relay-1", Region: "eu", Zone: "a", Used: 5, Max: 100}, {Name: "relay-2", Region: "eu", Zone: "a", Used: 90, Max: 100},
				{Name: "relay-3", Region: "us", Zone: "b", Max: 100}, {Name: "relay-4", Region: "us", Gone: true}, {Name: "relay-5", Region: "eu", Draining: true},
			}, call, in), []string{"turn:192.0.2.9:3478"}
		},
		Absent: func(n e164.Number) region.Choice {
			return region.Choice{Region: map[string]string{"US": "us", "DE": "eu"}[n.Region()], Reason: region.ByNumber}
		},
		Country: func(a netip.Addr) string { return "FR" },
		Policies: func(_ context.Context, caller, callee signaling.Party) (own, theirs protocol.ICEPolicy, blocked bool, err error) {
			return protocol.PolicyRelayFirst, protocol.PolicyRelay, callee.Account == "", o.fail
		},
	}
}

// relayFake is a relay that does what it is told.
type relayFake struct {
	draining, ends bool
	path           string
	fail           error // of SetDataPath
}

func (r *relayFake) State() RelayState {
	return RelayState{Name: "relay-1", Region: "eu", Allocations: 3, Max: 10, Draining: r.draining, Known: new(true)}
}

func (r *relayFake) Drain() { r.draining = true }

func (r *relayFake) Resume() error {
	if r.ends {
		return ErrRelayEnds
	}
	r.draining = false
	return nil
}

func (r *relayFake) DataPath() RelayDataPath {
	return RelayDataPath{Name: "relay-1", Path: cmp.Or(r.path, "user"), Reason: "so", Channels: 3}
}

func (r *relayFake) SetDataPath(_ context.Context, to string) error {
	if r.fail != nil {
		return r.fail
	}
	r.path = strings.Replace(to, "auto", "ebpf", 1)
	return nil
}

// Incarnation implements Fleet.
func (o *office) Incarnation() string { return "n1-a" }

// Nodes implements Fleet.
func (o *office) Nodes() []Node {
	if o.listing != nil {
		o.listing()
	}
	return o.nodes
}

// raw sends a request as it is and returns the status and the body.
func (o *office) raw(method, path, body string, change func(*http.Request)) (*http.Response, string) {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), method, o.url+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+goodKey)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if change != nil {
		change(r)
	}
	resp, err := o.client.HTTP.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		o.t.Fatal(err)
	}
	return resp, b.String()
}

// sessions are those of nodes that are not there.
type sessions struct {
	pages   map[string][]signaling.SessionInfo
	fail    error
	ended   []directory.Device
	drained map[string]bool
}

func (s *sessions) ListSessions(_ context.Context, node string, q signaling.SessionQuery) (p signaling.SessionPage, err error) {
	if s.fail != nil {
		return p, s.fail
	}
	for _, i := range s.pages[node] {
		switch {
		case i.ID <= q.After || q.Account != "" && i.Account != q.Account:
		case q.Limit > 0 && len(p.Sessions) == q.Limit:
			p.More = true
		default:
			p.Sessions = append(p.Sessions, i)
		}
	}
	return p, nil
}

func (s *sessions) EndSession(_ context.Context, _ directory.Account, d directory.Device) error {
	if s.fail != nil {
		return s.fail
	}
	if d != 1 {
		return fmt.Errorf("end session: %w", signaling.ErrNoSession)
	}
	s.ended = append(s.ended, d)
	return nil
}

func (s *sessions) EndSessionAt(_ context.Context, node, id string) error {
	for _, i := range s.pages[node] {
		if i.ID == id {
			return s.fail
		}
	}
	return fmt.Errorf("end session: %w", signaling.ErrNoSession)
}

func (s *sessions) DrainNode(_ context.Context, node string, on bool) error {
	if s.drained == nil {
		s.drained = map[string]bool{}
	}
	s.drained[node] = on
	return s.fail
}

// pushes are those that could not be brought, at the places that they have in
// the list, from 1; what is taken off leaves a gap.
type pushes struct {
	dead   []push.Dead
	woken  []push.Device
	asleep bool // no device can be woken
	fail   error
}

func (p *pushes) Dead(_ context.Context, account string, after uint64, limit int) (all []push.Dead, err error) {
	for _, d := range p.dead {
		if d.Seq > after && len(all) < limit && (account == "" || d.Account == account) {
			all = append(all, d)
		}
	}
	return all, p.fail
}

func (p *pushes) DeadAt(_ context.Context, seq uint64) (push.Dead, error) {
	for _, d := range p.dead {
		if d.Seq == seq {
			return d, p.fail
		}
	}
	return push.Dead{}, cmp.Or(p.fail, push.ErrNoPush)
}

func (p *pushes) DropDead(_ context.Context, seq uint64) error {
	n := len(p.dead)
	p.dead = slices.DeleteFunc(p.dead, func(d push.Dead) bool { return d.Seq == seq })
	if p.fail == nil && len(p.dead) == n {
		return push.ErrNoPush
	}
	return p.fail
}

func (p *pushes) Wake(_ context.Context, d push.Device, w push.Wake) (bool, error) {
	if p.fail != nil || p.asleep {
		return false, p.fail
	}
	p.woken = append(p.woken, d)
	return true, nil
}

func tokenFile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
