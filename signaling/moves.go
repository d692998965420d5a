package signaling

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"switchboard/signaling/call"
	"switchboard/signaling/callstore"
)

// Calls leave a relay that is drained, or has died, by a restart of ICE with other
// servers. Each of them makes allocations anew on the relays that are left, so that
// those of a relay which still works are not asked all at once.

const (
	// movesAtOnce is how many calls of relays that have died are asked at a time.
	movesAtOnce = 16
	// moveEvery is how long this node waits between two calls of a relay that is
	// drained.
	moveEvery = 20 * time.Millisecond
	// moveAgain is how long a call is left alone after it was asked to leave a relay:
	// a restart takes its time, and reports of before it are still on their way.
	moveAgain = 15 * time.Second
	// maxMoves is how many calls may wait to be asked. Those beyond are found again
	// by the next search.
	maxMoves = 100_000
)

// LeaveRelays has the calls found whose relays are drained or have died. It does not
// block, and is to be called when [Relays.State] has become worse for some relay.
func (s *Server) LeaveRelays() {
	select {
	case s.search <- struct{}{}:
	default: // it will be done
	}
}

// moves has calls leave their relays, those first whose relay has died. The zero value
// with calls set is ready.
type moves struct {
	calls *calls

	mu      sync.Mutex
	waiting map[string]RelayState // by call
	lost    []string              // of those, in order, the ones whose relay has died
	drained []string
	running bool
}

// consider has a call leave its relays if it must.
func (m *moves) consider(r *record) {
	if time.Since(r.MovedAt) < moveAgain {
		return
	}
	if _, state := m.leaves(r); state != RelayServes {
		m.add(r.ID, state)
	}
}

// leaves returns a relay that the call must leave, the one first that has died.
func (m *moves) leaves(r *record) (server string, worst RelayState) {
	if !r.Talking() {
		return "", RelayServes
	}
	for _, side := range []*call.Side{&r.A, &r.B} {
		if side.Path == nil || side.Path.Server == "" {
			continue
		}
		if st := m.calls.srv.Relays.State(side.Path.Server, side.PathAt); st > worst {
			server, worst = side.Path.Server, st
		}
	}
	return server, worst
}

func (m *moves) add(id string, state RelayState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting[id] >= state || len(m.waiting) >= maxMoves {
		return
	}
	if m.waiting == nil {
		m.waiting = map[string]RelayState{}
	}
	m.waiting[id] = state
	if state == RelayLost {
		m.lost = append(m.lost, id)
	} else {
		m.drained = append(m.drained, id)
	}
	if !m.running {
		m.running = true
		m.calls.srv.goroutines.Go(m.run)
	}
}

// take returns the calls to ask next, none if there are no more.
func (m *moves) take() (ids []string, pause time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.lost) > 0 && len(ids) < movesAtOnce {
		ids, m.lost = append(ids, m.lost[0]), m.lost[1:]
	}
	for len(m.drained) > 0 && len(ids) == 0 {
		if id := m.drained[0]; m.waiting[id] == RelayDrains { // else it was among the lost
			ids, pause = append(ids, id), moveEvery
		}
		m.drained = m.drained[1:]
	}
	for _, id := range ids {
		delete(m.waiting, id)
	}
	m.running = len(ids) > 0
	return ids, pause
}

func (m *moves) run() {
	for {
		ids, pause := m.take()
		if len(ids) == 0 {
			return
		}
		var g errgroup.Group
		for _, id := range ids {
			g.Go(func() error { m.move(id); return nil })
		}
		_ = g.Wait() // none of them fails
		if !m.calls.srv.pause(pause) {
			return
		}
	}
}

// errStays says that a call has no relay to leave.
var errStays = errors.New("the call stays on its relays")

// move has a call leave the relays that it must leave. If that cannot be done now, the
// call's own devices find out that a relay has died, or the next search comes.
func (m *moves) move(id string) {
	k := m.calls
	for range 2 { // each side may be on another
		ctx, cancel := k.srv.request()
		var state RelayState
		r, err := k.change(ctx, id, func(r record) (call.Event, error) {
			var server string
			if server, state = m.leaves(&r); state == RelayServes {
				return nil, errStays
			}
			return call.RelayLost{Server: server}, nil
		})
		cancel()
		switch {
		case err == nil:
			k.srv.metrics.moved.WithLabelValues(state.String()).Inc()
			k.srv.log.Info("call leaves a relay", "call", id, "relay", state, "moves", r.Moves)
		case errors.Is(err, errStays), errors.Is(err, callstore.ErrNotFound), errors.Is(err, context.Canceled):
			return
		default:
			k.srv.log.Warn("call not asked to leave a relay", "call", id, "error", err)
			return
		}
	}
}

// String is the state's name in logs and metrics.
func (s RelayState) String() string {
	switch s {
	case RelayDrains:
		return "drained"
	case RelayLost:
		return "lost"
	}
	return "serves"
}
