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

// endUnused ends, until ctx does, the allocations that carry no media for as long as
// they may.
func (s *Server) endUnused(ctx context.Context) {
	begun := time.Now()
	tick := time.NewTicker(s.unusedFor / lookUnused)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		unused := s.table.unused(time.Now().Add(-s.unusedFor))
		if time.Since(begun) > newFor*s.unusedFor {
			unused = append(unused, s.table.unused(time.Time{})...)
		}
		for _, a := range unused {
			s.metrics.unused.Inc()
			_ = a.close() // fails only if it has ended already
		}
	}
}

// unused lists the allocations that have carried media, and none since a time; of the
// zero time those that have carried none.
func (t *table) unused(since time.Time) (all []*allocation) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, a := range t.byRelay {
		media := a.media.Load()
		if media == 0 && since.IsZero() || media != 0 && !since.IsZero() && media < since.UnixNano() {
			all = append(all, a)
		}
	}
	return all
}
