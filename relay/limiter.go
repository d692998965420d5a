package relay

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"switchboard/relay/internal/tokens"
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

// bucket is a token bucket, kept as the moment at which it will be full again.
// It may be used by several goroutines.
type bucket struct{ full atomic.Int64 }

// rate says how fast a bucket fills, and how much it holds, both in the time
// that it takes.
type rate struct{ token, burst time.Duration }

// perSecond is the rate of n tokens a second, of which the bucket holds those of
// a time.
func perSecond(n int, burst time.Duration) rate {
	return rate{token: time.Second / time.Duration(n), burst: burst}
}

// after returns when a bucket is full again from which n tokens are taken, and
// whether it has them.
func (r rate) after(full, now int64, n int) (int64, bool) {
	next := max(full, now) + int64(n)*int64(r.token)
	return next, next-now <= int64(r.burst)
}

func (b *bucket) has(r rate, now int64) bool {
	_, ok := r.after(b.full.Load(), now, 1)
	return ok
}

func (b *bucket) take(r rate, now int64) bool {
	return tokens.Pay(&b.full, int64(r.token), int64(r.burst), now)
}

// maxSources is how many buckets a limiter has, a power of two. Each is 8 bytes.
const maxSources = 1 << 17

// limiter is a token bucket for each source, in a table that never grows: a
// flood from invented addresses costs no memory, no lock, and some 20 ns for
// each that is refused. Sources whose hashes agree share a bucket; which those
// are, nobody can know, because the hash has a seed of its own in each process.
// It may be used by several goroutines.
type limiter struct {
	rate    rate
	seed    maphash.Seed
	began   time.Time
	buckets []bucket
}

// newLimiter returns a limiter that gives each source so many tokens a second,
// and twice as many at once.
func newLimiter(n int) *limiter {
	return &limiter{
		rate: perSecond(n, 2*time.Second), seed: maphash.MakeSeed(), began: time.Now(), buckets: make([]bucket, maxSources),
	}
}

// take takes a token of a's source, and reports whether there was one.
func (l *limiter) take(a netip.Addr) bool { return l.of(a).take(l.rate, l.now()) }

// has reports whether a's source has a token. It costs less than an answer.
func (l *limiter) has(a netip.Addr) bool { return l.of(a).has(l.rate, l.now()) }

// now is in ns since the limiter was made.
func (l *limiter) now() int64 { return int64(time.Since(l.began)) }

func (l *limiter) of(a netip.Addr) *bucket {
	b := source(a).As16()
	return &l.buckets[maphash.Bytes(l.seed, b[:])&(maxSources-1)]
}

// strangers bounds what who has not shown credentials has the relay do. It may be
// used by several goroutines.
type strangers struct {
	answers *limiter // for each source
	failed  *limiter // of those, for wrong credentials
	rate    rate     // for all sources
	all     bucket
	metrics *metrics
}

func newStrangers(l Limits, m *metrics) *strangers {
	return &strangers{
		answers: newLimiter(l.UnauthenticatedPerSecond), failed: newLimiter(l.FailedAuthPerSecond),
		rate: perSecond(l.UnauthenticatedTotalPerSecond, 2*time.Second), metrics: m,
	}
}

// may reports whether there is an answer left for a's source, without taking
// it. The bound for all comes first, so that a flood from invented addresses uses
// up nobody's own.
func (s *strangers) may(a netip.Addr) bool {
	switch {
	case !s.all.has(s.rate, s.answers.now()):
		s.metrics.drops[dropLimitedTotal].Inc()
	case !s.answers.has(a):
		s.metrics.drops[dropLimited].Inc()
	default:
		return true
	}
	return false
}

// take takes an answer for a's source, and reports whether there was one.
func (s *strangers) take(a netip.Addr) bool {
	switch {
	case !s.may(a):
		return false
	case !s.answers.take(a):
		s.metrics.drops[dropLimited].Inc()
		return false
	case !s.all.take(s.rate, s.answers.now()):
		s.metrics.drops[dropLimitedTotal].Inc()
		return false
	}
	s.metrics.unauthenticated.Inc()
	return true
}
