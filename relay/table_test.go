package relay

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Clients race for the last places of each quota, with a mob for each place; some
// open their allocation and end it, and some fail to. At no moment is there one
// too many, and in the end there are as many as may be.
func TestQuotasHoldInARace(t *testing.T) {
	const quota, clients, rounds = 5, 64, 200
	for _, test := range []struct {
		name   string
		set    func(*Quotas)
		client func(i int) (identity, netip.Addr)
	}{
		{"user", func(q *Quotas) { q.AllocationsPerUser = quota }, func(i int) (identity, netip.Addr) {
			return identity{call: fmt.Sprint(i), user: "alice"}, netip.AddrFrom4([4]byte{9, 9, 9, byte(i)})
		}},
		{"call", func(q *Quotas) { q.AllocationsPerCall = quota }, func(i int) (identity, netip.Addr) {
			return identity{call: "one", user: fmt.Sprint(i)}, netip.AddrFrom4([4]byte{9, 9, 9, byte(i)})
		}},
		{"source", func(q *Quotas) { q.AllocationsPerSource = quota }, func(i int) (identity, netip.Addr) {
			return identity{call: fmt.Sprint(i), user: fmt.Sprint(i)}, netip.AddrFrom4([4]byte{9, 9, 9, 9})
		}},
		{"total", func(q *Quotas) { q.Allocations = quota }, func(i int) (identity, netip.Addr) {
			return identity{call: fmt.Sprint(i), user: fmt.Sprint(i)}, netip.AddrFrom4([4]byte{9, 9, 9, byte(i)})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := Quotas{AllocationsPerUser: 1000, AllocationsPerCall: 1000, AllocationsPerSource: 1000, Allocations: 1000}
			test.set(&q)
			tab := newTable(q, Default().Limits, newMetrics())
			var now, most, refused atomic.Int32
			enter := func() {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
			}
			try := func(i int, fails bool) *allocation {
				who, from := test.client(i)
				c := client{addr: netip.AddrPortFrom(from, uint16(1000+i)), over: overTCP}
				if tab.reserve(who, c) != nil {
					refused.Add(1)
					return nil
				}
				enter()
				if fails { // its socket cannot be opened
					now.Add(-1)
					tab.cancel(c)
					return nil
				}
				a := &allocation{owner: who, client: c, relay: netip.AddrPortFrom(netip.MustParseAddr("5.5.5.5"), uint16(50000+i))}
				if err := tab.open(a); err != nil {
					t.Errorf("a place was reserved, and: %v", err)
				}
				tab.announce(a.relay)
				return a
			}
			var wg sync.WaitGroup
			for i := range clients {
				wg.Go(func() {
					for round := range rounds {
						if a := try(i, (i+round)%3 == 0); a != nil {
							now.Add(-1)
							tab.remove(a)
							tab.finished()
						}
					}
				})
			}
			wg.Wait()
			if most.Load() > quota {
				t.Errorf("%d at one moment, want at most %d", most.Load(), quota)
			}
			if most.Load() < quota || refused.Load() == 0 {
				t.Logf("no race for the last place: at most %d, %d refused", most.Load(), refused.Load())
			}
			if len(tab.byUser)+len(tab.byCall)+len(tab.bySource)+len(tab.reserved)+tab.len() != 0 {
				t.Errorf("something is left: %v, %v, %v, %v", tab.byUser, tab.byCall, tab.bySource, tab.reserved)
			}
			var opened atomic.Int32
			for i := range clients {
				wg.Go(func() {
					if try(i, false) != nil {
						opened.Add(1)
					}
				})
			}
			wg.Wait()
			if n := opened.Load(); n != quota {
				t.Errorf("%d are open in the end, want %d", n, quota)
			}
		})
	}
}

// A client that asks again has one place, not two.
func TestPlaceOfOneClient(t *testing.T) {
	tab := newTable(Quotas{AllocationsPerUser: 1, AllocationsPerCall: 1, AllocationsPerSource: 1, Allocations: 1}, Default().Limits, newMetrics())
	c := client{addr: netip.MustParseAddrPort("9.9.9.9:1000"), over: overUDP}
	for range 3 {
		if err := tab.reserve(identity{"call", "user"}, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := tab.open(&allocation{owner: identity{"call", "other"}, client: c}); err != errQuotaTotal {
		t.Errorf("in the place of another user: %v", err)
	}
	tab.draining.Store(true)
	if err := tab.open(&allocation{owner: identity{"call", "user"}, client: c}); err != errDraining {
		t.Errorf("while it drains: %v", err)
	}
	if len(tab.reserved)+len(tab.byUser) != 0 {
		t.Error("the place is still taken")
	}
}

// Users who open allocations are remembered for as long as it matters, and so many
// of them.
func TestPaceOfUsers(t *testing.T) {
	l := Default().Limits
	tab := newTable(Default().Quotas, l, newMetrics())
	now := time.Unix(1_800_000_000, 0)
	count := func(user string, at time.Time) (n int) {
		for tab.mayOpen(user, at) {
			n++
		}
		return n
	}
	if n := count("alice", now); n != 10 {
		t.Errorf("%d at once, want 10", n)
	}
	if n := count("bob", now); n != 10 {
		t.Errorf("%d at once of another, want 10", n)
	}
	if n := count("alice", now.Add(2*time.Second)); n != 4 {
		t.Errorf("%d after 2 s, want 4", n)
	}
	for i := range maxOpening + 100 {
		tab.mayOpen(fmt.Sprint(i), now)
	}
	if len(tab.opening) > maxOpening {
		t.Errorf("%d are remembered", len(tab.opening))
	}
	tab.mayOpen("carol", now.Add(time.Minute))
	if len(tab.opening) != 1 {
		t.Errorf("%d are remembered a minute later", len(tab.opening))
	}
}
