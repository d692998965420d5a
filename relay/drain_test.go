package relay_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// What was drained is put back, as often as one likes, and the registrar hears of it
// each time.
func TestDrainIsUndone(t *testing.T) {
	b := &book{}
	s := start(t, nil, b)
	kept := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	next := s.raw(t, "udp", mint(t, "call", "bob", time.Now())).greet(t)
	for range 3 {
		s.Drain()
		s.Drain()
		if err := s.Ready(); !errors.Is(err, relay.ErrDraining) {
			t.Errorf("drained: %v", err)
		}
		if n := s.count(t, "draining", ""); n != 1 {
			t.Errorf("draining is %v", n)
		}
		eventually(t, "the registrar hears that it drains", func() bool { st, _, _ := b.last(); return st.Draining })
		if got := next.do(t, stun.MethodAllocate, udpRelay); got != 508 {
			t.Fatalf("allocate while it drains: %d, want 508", got)
		}
		if got := kept.do(t, stun.MethodRefresh); got != 0 {
			t.Errorf("refresh while it drains: %d", got)
		}
		s.Resume()
		s.Resume()
		if err := s.Ready(); err != nil {
			t.Errorf("back in service: %v", err)
		}
		if n := s.count(t, "draining", ""); n != 0 {
			t.Errorf("draining is %v", n)
		}
		eventually(t, "the registrar hears that it is back", func() bool { st, _, _ := b.last(); return !st.Draining })
		if got := next.do(t, stun.MethodAllocate, udpRelay); got != 0 {
			t.Fatalf("allocate when it is back: %d", got)
		}
		if got := next.do(t, stun.MethodRefresh, attribute{stun.AttrLifetime, make([]byte, 4)}); got != 0 {
			t.Fatalf("end of that: %d", got)
		}
		eventually(t, "one allocation is left", func() bool { return s.Allocations() == 1 })
	}
}

// A relay that is back in service ends nothing for want of media; one that drains
// again counts from then on.
func TestResumeEndsNothing(t *testing.T) {
	s := start(t, nil)
	const unused = 200 * time.Millisecond
	relay.SetUnusedFor(s.Server, unused)
	peer := echo(t)
	_, conn := s.allocate(t, "udp", mint(t, "call", "alice", time.Now()))
	s.Drain()
	exchange(t, conn, peer, "\x80media, noted while it drains")
	s.Resume()
	time.Sleep(10 * unused)
	if s.Allocations() != 1 || s.count(t, "unused_total", "") != 0 {
		t.Fatal("ended by a relay that does not drain")
	}
	s.Drain()
	time.Sleep(unused / 2) // it looks ten times
	if s.Allocations() != 1 {
		t.Error("what it carried when the relay drained before counts against it")
	}
	eventually(t, "it ends when it has carried nothing", func() bool { return s.Allocations() == 0 })
	s.Resume()
	s.allocate(t, "udp", mint(t, "call", "alice", time.Now()))
}

// Who is to end does not come back.
func TestShutdownIsNotUndone(t *testing.T) {
	s := start(t, nil)
	s.Drain()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.Resume()
	if err := s.Ready(); !errors.Is(err, relay.ErrDraining) {
		t.Errorf("Ready: %v", err)
	}
	if got := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).greet(t).do(t, stun.MethodAllocate, udpRelay); got != 508 {
		t.Errorf("allocate: %d, want 508", got)
	}
}
