package signaling

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// maxLimiters is how many accounts a node remembers what they have asked for.
// The one not heard of for longest makes room.
const maxLimiters = 1 << 16

// limiters holds a rate limit for each account, which outlives its sessions: who
// connects anew to ask for more gets no more.
type limiters struct {
	// Static.
	rate  rate.Limit
	burst int

	// Guarded by mu.
	mu   sync.Mutex
	of   map[directory.Account]*list.Element
	used list.List // of *limiter, the last used in front
}

type limiter struct {
	account directory.Account
	*rate.Limiter
}

func newLimiters(perSecond float64, burst int) *limiters {
	return &limiters{rate: rate.Limit(perSecond), burst: burst, of: map[directory.Account]*list.Element{}}
}

// take counts n events of an account, or returns an error that says when it may
// do so.
func (l *limiters) take(a directory.Account, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	r := l.limiter(a).ReserveN(now, n)
	if !r.OK() {
		return protocol.NewError(protocol.CodeRate, "too many at once")
	}
	d := r.DelayFrom(now)
	if d <= 0 {
		return nil
	}
	r.CancelAt(now)
	return protocol.NewError(protocol.CodeRate, "too many lookups").After(d)
}

func (l *limiters) limiter(a directory.Account) *rate.Limiter {
	if e, ok := l.of[a]; ok {
		l.used.MoveToFront(e)
		return e.Value.(*limiter).Limiter
	}
	if len(l.of) >= maxLimiters {
		oldest := l.used.Remove(l.used.Back()).(*limiter)
		delete(l.of, oldest.account)
	}
	v := &limiter{a, rate.NewLimiter(l.rate, l.burst)}
	l.of[a] = l.used.PushFront(v)
	return v.Limiter
}
