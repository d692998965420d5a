package client

import (
	"math/rand/v2"
	"time"
)

// backoff says how long to wait before something is tried again: anything between
// nothing and a bound that doubles with each try, so that many clients that lost
// the same server do not come back at the same moment.
type backoff struct {
	least, most time.Duration
	random      func(n int64) int64 // in [0, n)
	bound       time.Duration       // of the next wait; 0 for the least
}

func (o *Options) backoff() backoff {
	return backoff{least: o.MinBackoff, most: o.MaxBackoff, random: rand.Int64N}
}

// next returns the wait before the next try.
func (b *backoff) next() time.Duration {
	bound := max(b.bound, b.least)
	b.bound = min(2*bound, b.most)
	return time.Duration(b.random(int64(bound) + 1))
}

// reset begins anew, after a success that lasted.
func (b *backoff) reset() { b.bound = 0 }
