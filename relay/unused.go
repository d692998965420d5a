package relay

import (
	"context"
	"time"
)

// Browsers keep an allocation that works for as long as a call lasts, though its media
// has moved elsewhere, and check time and again that it still does. So that a relay
// which drains comes to an end, it ends those through which no media goes.

const (
	// unusedFor is how long an allocation may carry no media while the relay drains.
	// RTCP flows on hold, too, every 7.5 s at the least (RFC 3550 section 6.3.1).
	unusedFor = 20 * time.Second
	// newFor is that many times as long for one that has carried none yet: its call may
	// ring still, or be about to connect.
	newFor = 4
	// lookUnused is how often that is looked at, in a 20th of it.
	lookUnused = 20
)

// isMedia reports whether a packet is one of DTLS, SRTP or SRTCP, and not a check that
// there is a way (RFC 7983 section 7).
func isMedia(b []byte) bool { return len(b) > 0 && b[0] > 3 }

// note notes that a packet goes through the allocation.
func (a *allocation) note(b []byte) {
	if isMedia(b) {
		a.media.Store(time.Now().UnixNano())
	}
}

// lastMedia is when the allocation last carried media, as far as that is known.
func (a *allocation) lastMedia(now time.Time) time.Time {
	last := time.Unix(0, a.media.Load())
	if list := a.conn.flows.Load(); list != nil {
		for _, f := range *list {
			if at, ok := f.mediaInKernel(now); ok && at.After(last) {
				last = at
			}
		}
	}
	return last
}

// watchUnused ends allocations that carry no media, whenever the relay drains, until
// ctx ends.
func (s *Server) watchUnused(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.drained:
		}
		s.endUnused(ctx)
	}
}

// endUnused ends the allocations that carry no media for as long as they may, until
// the relay drains no more or ctx ends.
func (s *Server) endUnused(ctx context.Context) {
	tick := time.NewTicker(s.unusedFor / lookUnused)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.table.draining.Load() {
			return
		}
		for _, a := range s.table.unused(time.Unix(0, s.drainBegan.Load()), time.Now(), s.unusedFor) {
			s.metrics.unused.Inc()
			_ = a.close() // fails only if it has ended already
		}
	}
}

// unused lists the allocations that have carried no media for as long as they may, on
// a relay that began to drain at a time. What they carried before that is not known.
func (t *table) unused(began, now time.Time, most time.Duration) (all []*allocation) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, a := range t.byRelay {
		last, may := a.lastMedia(now), most
		if last.Before(began) {
			last, may = began, newFor*most
		}
		if now.Sub(last) > may {
			all = append(all, a)
		}
	}
	return all
}
