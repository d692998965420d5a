package relay_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// 64 clients race for the last places: of each quota as many succeed as there are
// places, and all others are told that it is reached, and may try again.
func TestQuotaRaceForTheLastPlaces(t *testing.T) {
	t.Parallel()
	const clients, places = 64, 5
	for _, test := range []struct {
		name   string
		quotas func(*relay.Quotas)
		user   func(i int) string
	}{
		{"user", func(q *relay.Quotas) { q.AllocationsPerUser = places }, func(int) string { return "alice" }},
		{"source", func(q *relay.Quotas) { q.AllocationsPerSource = places }, func(i int) string { return fmt.Sprint(i) }},
		{"total", func(q *relay.Quotas) { q.Allocations = places }, func(i int) string { return fmt.Sprint(i) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := conforming(t, func(c *relay.Config) { test.quotas(&c.Quotas) })
			now := time.Now()
			var all []*raw
			for i := range clients {
				all = append(all, s.raw(t, everyTransport[i%len(everyTransport)], mint(t, fmt.Sprint("call", i), test.user(i), now)).greet(t))
			}
			var won, refused atomic.Int32
			var wg sync.WaitGroup
			begin := make(chan struct{})
			for _, r := range all {
				m := r.request(t, stun.MethodAllocate, udpRelay)
				wg.Go(func() {
					<-begin
					switch code := codeOf(r.ask(t, m)); code {
					case 0:
						won.Add(1)
					case 486, 508:
						refused.Add(1)
					default:
						t.Errorf("%d", code)
					}
				})
			}
			close(begin)
			wg.Wait()
			// The source's quota is counted when an allocation is open, so that of those that
			// race too many may be told yes; their allocations end at once.
			if won.Load() < places || won.Load()+refused.Load() != clients {
				t.Errorf("%d of %d have won, %d are refused", won.Load(), clients, refused.Load())
			}
			eventually(t, "as many as there are places", func() bool { return s.Allocations() <= places })
			if n := s.Allocations(); n != places {
				t.Errorf("%d allocations for %d places", n, places)
			}
		})
	}
}
