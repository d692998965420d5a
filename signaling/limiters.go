package signaling

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// maxLimiters is how many keys a node remembers what was asked for them. The one
// not heard of for longest makes room.
const maxLimiters = 1 << 16

// limiters holds a rate limit for each key, which outlives sessions: who connects
// anew to ask for more gets no more.
type limiters[K comparable] struct {
	// Static.
	rate  rate.Limit
	burst int
	what  string // is limited

	// Guarded by mu.
	mu sync.Mutex
	of *simplelru.LRU[K, *rate.Limiter]
}

// pair is an account that approaches another.
type pair struct{ from, to directory.Account }

func newLimiters[K comparable](perSecond float64, burst int, what string) *limiters[K] {
	of, _ := simplelru.NewLRU[K, *rate.Limiter](maxLimiters, nil) // fails for sizes below 1
	return &limiters[K]{rate: rate.Limit(perSecond), burst: burst, what: what, of: of}
}

// take counts n events of a key, or returns an error that says when they may be.
func (l *limiters[K]) take(key K, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	r := l.limiter(key).ReserveN(now, n)
	if !r.OK() {
		return protocol.NewError(protocol.CodeRate, "too many %s at once", l.what)
	}
	d := r.DelayFrom(now)
	if d <= 0 {
		return nil
	}
	r.CancelAt(now)
	return protocol.NewError(protocol.CodeRate, "too many %s", l.what).After(d)
}

// limiter must hold mu.
func (l *limiters[K]) limiter(key K) *rate.Limiter {
	if one, ok := l.of.Get(key); ok {
		return one
	}
	one := rate.NewLimiter(l.rate, l.burst)
	l.of.Add(key, one)
	return one
}
