package relay

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// source is whom limits count as one: an IPv4 address, or an IPv6 /56, which is
// what a household is given.
func source(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is4() {
		return a
	}
	p, err := a.WithZone("").Prefix(56)
	if err != nil {
		return netip.Addr{} // one source for all that is no address
	}
	return p.Addr()
}

// maxSources bounds the memory of a limiter. Sources beyond share one budget.
const maxSources = 1 << 16

// limiter is a token bucket for each source. It may be used by several
// goroutines.
type limiter struct {
	// Static after newLimiter.
	rate  rate.Limit
	burst int
	now   func() time.Time

	// Guarded by mu.
	mu      sync.Mutex
	sources map[netip.Addr]*rate.Limiter
	rest    *rate.Limiter // of the sources that have none of their own
	swept   time.Time
}

func newLimiter(perSecond int) *limiter {
	l := &limiter{rate: rate.Limit(perSecond), burst: 2 * perSecond, now: time.Now, sources: make(map[netip.Addr]*rate.Limiter)}
	l.rest = rate.NewLimiter(l.rate, l.burst)
	return l
}

// take takes a token of a's source, and reports whether there was one.
func (l *limiter) take(a netip.Addr) bool {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket(source(a), now).AllowN(now, 1)
}

// has reports whether a's source has a token. It costs less than an answer.
func (l *limiter) has(a netip.Addr) bool {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.sources[source(a)]
	if b == nil && len(l.sources) >= maxSources {
		b = l.rest
	}
	return b == nil || b.TokensAt(now) >= 1
}

func (l *limiter) bucket(s netip.Addr, now time.Time) *rate.Limiter {
	if b := l.sources[s]; b != nil {
		return b
	}
	if len(l.sources) >= maxSources {
		l.sweep(now)
	}
	if len(l.sources) >= maxSources {
		return l.rest
	}
	b := rate.NewLimiter(l.rate, l.burst)
	l.sources[s] = b
	return b
}

// sweep forgets the sources that have all their tokens again, as new ones have.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for s, b := range l.sources {
		if b.TokensAt(now) >= float64(l.burst) {
			delete(l.sources, s)
		}
	}
}

// route remembers the addresses to which a nonce was sent, so that credentials
// are taken only from where answers arrive: the TURN library's nonces are the
// same for all, and an attacker who has one could open allocations in the name
// of an address that is not its own. It may be used by several goroutines.
type routes struct {
	// Guarded by mu. Two generations, so that forgetting costs nothing.
	mu       sync.Mutex
	now, old map[netip.AddrPort]struct{}
	since    time.Time
}

const (
	maxRoutes   = 1 << 15          // of a generation; more end it
	routesAlive = 10 * time.Minute // of a generation; a nonce lives an hour, a client asks at once
)

func (r *routes) add(a netip.AddrPort, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || len(r.now) >= maxRoutes || now.Sub(r.since) > routesAlive {
		r.now, r.old, r.since = make(map[netip.AddrPort]struct{}), r.now, now
	}
	r.now[a] = struct{}{}
}

func (r *routes) has(a netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.now[a]
	if !ok {
		_, ok = r.old[a]
	}
	return ok
}
