package kills

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"switchboard/cmd/switchboard/internal/fleet"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

const (
	caller, callee = "+14155550171", "+14155550172"
	// patience is how long anything may take that has to happen.
	patience = 20 * time.Second
	// settleWithin is how long it may take, from the kill, until the call is as it
	// should be.
	settleWithin = 5 * time.Second
	// noGap is how long packets that are sent every 20 ms may be away for it to be
	// said that they never stopped, beside what kept their sender from sending.
	noGap = 300 * time.Millisecond
)

// states of a call, and how each is brought about.
var states = []protocol.State{protocol.Trying, protocol.Ringing, protocol.Connecting, protocol.Active, protocol.Reconnecting}

// victims are the nodes that are killed: indices, the caller's is 0.
var victims = []struct {
	name  string
	nodes []int
}{{"caller's", []int{0}}, {"callee's", []int{1}}, {"both", []int{0, 1}}}

// TestKills kills nodes in every state of a call. It prints a row for each.
func TestKills(t *testing.T) {
	h := newHouse(t)
	fmt.Println("state         killed    settled after  longest gap: caller    callee")
	for _, state := range states {
		for _, v := range victims {
			t.Run(fmt.Sprintf("%s, %s", state, v.name), func(t *testing.T) { h.kill(t, state, v.name, v.nodes) })
		}
	}
}

// kill sets a call up, brings it into a state, kills nodes, and goes on with the
// call to its end.
func (h *house) kill(t *testing.T, state protocol.State, name string, nodes []int) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	a, b := h.sit(t, ctx, "caller", h.tokens[0], 0), h.sit(t, ctx, "callee", h.tokens[1], 1)
	c := &talk{t: t, ctx: ctx, a: a, b: b}
	c.bring(state)
	before := [2]int{a.sessions(), b.sessions()}
	for _, s := range []*side{a, b} {
		s.peer.heard.measure()
		s.peer.spoken.measure()
	}
	t.Cleanup(func() { h.revive(t) })
	begun := time.Now()
	for _, n := range nodes {
		if err := h.fleet.Nodes[n].Kill(); err != nil {
			t.Fatal(err)
		}
	}
	c.goOn(state)
	for i, s := range []*side{a, b} {
		for _, n := range nodes {
			if n == i {
				c.await("a session at another node", func() bool { return s.sessions() > before[i] })
			}
		}
	}
	settled := time.Since(begun)
	gaps := "           –         –"
	if state == protocol.Active {
		time.Sleep(time.Second) // what comes late must not go unseen
		x, y := a.peer.heard.gap(), b.peer.heard.gap()
		gaps = fmt.Sprintf("%12v %9v", x.Round(time.Millisecond), y.Round(time.Millisecond))
		if x > noGap+b.peer.spoken.gap() || y > noGap+a.peer.spoken.gap() {
			t.Errorf("media stopped for %v, %v; the senders paused for %v, %v", x, y, b.peer.spoken.gap(), a.peer.spoken.gap())
		}
	}
	fmt.Printf("%-13s %-9s %13v  %s\n", state, name, settled.Round(10*time.Millisecond), gaps)
	if settled > settleWithin {
		t.Errorf("it took %v until the call was as it should be", settled)
	}
	c.hangUp()
}

// revive starts the nodes that were killed.
func (h *house) revive(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, n := range h.fleet.Nodes {
		if !n.Running() {
			if err := n.Start(ctx); err != nil {
				t.Error(err)
			}
		}
	}
}

// talk is a call between two sides.
type talk struct {
	t    *testing.T
	ctx  context.Context
	a, b *side
}

func (c *talk) must(what string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

func (c *talk) await(what string, so func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not in %v; the sides know of %s, %s", what, patience, c.a.state, c.b.state)
		}
	}
}

// bring makes the call and brings it into a state.
func (c *talk) bring(state protocol.State) {
	c.t.Helper()
	var err error
	c.a.offer, err = c.a.peer.offer()
	c.must("offer", err)
	c.a.held, c.b.held = true, true
	call, _, err := c.a.client.Invite(c.ctx, client.NewID(), callee, []protocol.Media{protocol.Audio}, c.a.offer)
	c.must("invite", err)
	c.a.follow(c.ctx, call)
	c.a.trickle(c.ctx)
	select {
	case incoming := <-c.b.calls:
		c.b.follow(c.ctx, incoming)
	case <-c.ctx.Done():
		c.t.Fatal("it does not ring")
	}
	if state == protocol.Trying {
		return
	}
	c.ring()
	if state == protocol.Ringing {
		return
	}
	c.answer()
	if state == protocol.Connecting {
		return
	}
	c.connect()
	if state == protocol.Active {
		return
	}
	c.a.peer.link.down.Store(true)
	c.await("the caller is told that media is lost", c.a.is(protocol.Reconnecting))
	c.await("the callee is told that media is lost", c.b.is(protocol.Reconnecting))
}

// goOn brings it from a state to being active.
func (c *talk) goOn(state protocol.State) {
	c.t.Helper()
	switch state {
	case protocol.Trying:
		c.ring()
		c.answer()
		c.connect()
	case protocol.Ringing:
		c.answer()
		c.connect()
	case protocol.Connecting:
		c.connect()
	case protocol.Reconnecting:
		c.a.peer.link.down.Store(false)
		c.await("the caller is told that media is back", c.a.is(protocol.Active))
		c.await("the callee is told that media is back", c.b.is(protocol.Active))
	}
}

func (c *talk) ring() {
	c.t.Helper()
	c.b.call.Ringing()
	c.await("the caller hears that it rings", c.a.is(protocol.Ringing))
}

func (c *talk) answer() {
	c.t.Helper()
	var err error
	c.b.offer, err = c.b.peer.answer(c.b.call.Offer())
	c.must("answer", err)
	c.must("answer", c.b.call.Answer(c.ctx, c.b.offer))
	c.b.trickle(c.ctx)
	c.await("the caller hears the answer", func() bool { return c.a.peer.pc.RemoteDescription() != nil })
}

func (c *talk) connect() {
	c.t.Helper()
	c.must("candidates", c.a.release())
	c.must("candidates", c.b.release())
	c.await("media at the caller", func() bool { return c.a.peer.heard.count() > 10 })
	c.await("media at the callee", func() bool { return c.b.peer.heard.count() > 10 })
	c.await("the caller is told that the call is active", c.a.is(protocol.Active))
	c.await("the callee is told that the call is active", c.b.is(protocol.Active))
}

// hangUp ends the call at the caller's side. Both hear of it, and nothing after it.
func (c *talk) hangUp() {
	c.t.Helper()
	c.must("hang up", c.a.call.Hangup(c.ctx, ""))
	for _, s := range []*side{c.a, c.b} {
		c.await(s.name+" hears of the end", func() bool { n, _ := s.end(); return n > 0 })
		if _, end := s.end(); end.Reason != protocol.ReasonHangup || end.Mine != (s == c.a) {
			c.t.Errorf("%s heard of the end: %+v", s.name, end)
		}
		if _, err := s.call.Next(c.ctx); !errors.Is(err, client.ErrCallOver) {
			c.t.Errorf("%s heard more after the end: %v", s.name, err)
		}
	}
}

// house is three nodes on a NATS server, and two numbers.
type house struct {
	fleet  *fleet.Fleet
	tokens []string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	c, err := fleet.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	h := &house{}
	c.Dir, c.Servers, c.Nodes, c.Log = t.TempDir(), 1, 3, &log
	if h.fleet, err = fleet.Start(t.Context(), c); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	t.Cleanup(func() {
		if err := h.fleet.Close(); err != nil {
			t.Error(err)
		}
		text := log.String()
		if strings.Contains(text, caller) || strings.Contains(text, callee) || strings.Contains(text, "ice-ufrag") {
			t.Error("a number or a description is in the log")
		}
		if t.Failed() {
			t.Logf("the end of the log:\n%s", text[max(0, len(text)-8000):])
		}
	})
	for _, number := range []string{caller, callee} {
		got, err := h.fleet.Nodes[0].Register(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		h.tokens = append(h.tokens, got.Token)
	}
	return h
}

// sit connects a phone to a node; it knows the others, too.
func (h *house) sit(t *testing.T, ctx context.Context, name, token string, node int) *side {
	t.Helper()
	var urls []string
	for i := range h.fleet.Nodes {
		urls = append(urls, h.fleet.Nodes[(node+i)%len(h.fleet.Nodes)].URL)
	}
	s, err := sit(ctx, name, token, urls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
