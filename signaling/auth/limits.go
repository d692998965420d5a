package auth

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"switchboard/signaling/protocol"
)

// limits holds a rate limit for each of many, of whom it remembers a bounded
// number: the one not seen for longest makes room.
type limits[K comparable] struct {
	rate  rate.Limit
	burst int
	most  int

	mu   sync.Mutex
	of   map[K]*list.Element
	seen list.List // of *limited[K], the last seen in front
}

type limited[K comparable] struct {
	who K
	*rate.Limiter
}

func newLimits[K comparable](perHour, burst, most int) *limits[K] {
	return &limits[K]{rate: rate.Limit(float64(perHour) / 3600), burst: burst, most: most, of: map[K]*list.Element{}}
}

// take counts an event of k, or returns an error that says when k may again.
func (l *limits[K]) take(k K) error {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.limiter(k).ReserveN(now, 1)
	d := r.DelayFrom(now)
	if d <= 0 {
		return nil
	}
	r.CancelAt(now)
	return protocol.NewError(protocol.CodeRate, "too many requests").After(d)
}

func (l *limits[K]) limiter(k K) *rate.Limiter {
	if e, ok := l.of[k]; ok {
		l.seen.MoveToFront(e)
		return e.Value.(*limited[K]).Limiter
	}
	if len(l.of) >= l.most {
		oldest := l.seen.Remove(l.seen.Back()).(*limited[K])
		delete(l.of, oldest.who)
	}
	v := &limited[K]{k, rate.NewLimiter(l.rate, l.burst)}
	l.of[k] = l.seen.PushFront(v)
	return v.Limiter
}

func (l *limits[K]) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.of)
}

// sourceOf is what requests are counted by: an IPv4 address or an IPv6 /56,
// which is what one customer has. Whatever else remote is, such as a connection
// in memory, counts as one.
func sourceOf(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	bits, addr := 32, ap.Addr().Unmap().WithZone("")
	if addr.Is6() {
		bits = 56
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
