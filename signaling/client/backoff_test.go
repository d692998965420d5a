package client

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestWaits(t *testing.T) {
	o := Options{MinBackoff: 250 * time.Millisecond, MaxBackoff: 15 * time.Second}
	b := o.backoff()
	b.random = func(n int64) int64 { return n - 1 } // as late as can be
	bounds := func(want ...time.Duration) {
		t.Helper()
		for i, w := range want {
			if got := b.next(); got != w {
				t.Errorf("wait %d is at most %v, want %v", i, got, w)
			}
		}
	}
	const ms = time.Millisecond
	bounds(250*ms, 500*ms, 1000*ms, 2000*ms, 4000*ms, 8000*ms, 15_000*ms, 15_000*ms)
	b.reset()
	bounds(250*ms, 500*ms)

	// The waits of a thousand clients lie everywhere below the bound.
	r := rand.New(rand.NewPCG(1, 2))
	tenths := make([]int, 10)
	for range 1000 {
		b := backoff{least: time.Second, most: time.Second, random: r.Int64N}
		tenths[min(b.next()/(100*ms), 9)]++
	}
	for i, n := range tenths {
		if n < 60 || n > 140 {
			t.Errorf("%d of 1000 waits are in tenth %d of the bound", n, i)
		}
	}
}
