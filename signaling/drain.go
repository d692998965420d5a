package signaling

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// drainState is whether an operator wants the node without sessions.
type drainState struct {
	// Static once the first connection is served.
	told func(draining bool)

	// Guarded by mu.
	mu   sync.Mutex
	on   bool
	stop context.CancelFunc // ends the sending away, while on
}

// OnDrain has f called whenever the node begins to be drained or ends to be, so
// that load balancers and other nodes hear of it. It must be called before the
// first connection is served; f must not block for long.
func (s *Server) OnDrain(f func(draining bool)) { s.drain.told = f }

// Draining reports whether an operator has taken the node out of service.
func (s *Server) Draining() bool {
	s.drain.mu.Lock()
	defer s.drain.mu.Unlock()
	return s.drain.on
}

// leaving reports whether the node takes no new sessions, because it stops or
// is drained.
func (s *Server) leaving() bool { return s.draining.Load() || s.Draining() }

// Drain takes the node out of service without ending it: sessions are told to
// connect elsewhere and are closed over [Config.DrainFor], new ones are refused.
// It returns at once; the node idles until [Server.Undrain] or
// [Server.Shutdown]. Calls go on.
func (s *Server) Drain() {
	s.drain.mu.Lock()
	defer s.drain.mu.Unlock()
	if s.drain.on {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.drain.on, s.drain.stop = true, cancel
	if s.drain.told != nil {
		s.drain.told(true)
	}
	s.goroutines.Go(func() {
		sessions := s.goingAway(s.cfg.DrainFor)
		s.pace(ctx, sessions, s.cfg.DrainFor, protocol.CloseGoingAway)
		if ctx.Err() == nil {
			s.closeOpening(protocol.CloseGoingAway)
		}
	})
}

// Undrain puts the node back into service. Sessions that have not been closed
// yet stay.
func (s *Server) Undrain() {
	s.drain.mu.Lock()
	defer s.drain.mu.Unlock()
	if !s.drain.on {
		return
	}
	s.drain.stop()
	s.drain.on, s.drain.stop = false, nil
	if s.drain.told != nil {
		s.drain.told(false)
	}
}

// halt ends the sending away, and nothing else.
func (d *drainState) halt() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.on {
		d.stop()
	}
}

// DrainNode drains a node, this one or another, or with on false undrains it.
// Errors are those of [directory.Directory.Ask].
func (s *Server) DrainNode(ctx context.Context, node string, on bool) error {
	kind := kindUndrain
	if on {
		kind = kindDrain
	}
	if node == s.Nodes.Incarnation() {
		s.drainAsked(kind)
		return nil
	}
	if _, err := s.Nodes.Ask(ctx, node, directory.Request{Kind: kind}); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

func (s *Server) drainAsked(kind string) {
	if kind == kindDrain {
		s.Drain()
	} else {
		s.Undrain()
	}
}

// goingAway tells every session to connect elsewhere, and returns them in the
// order in which to close them.
func (s *Server) goingAway(over time.Duration) []*session {
	sessions := s.snapshot()
	s.log.Info("sessions draining", "sessions", len(sessions), "over", over)
	rand.Shuffle(len(sessions), func(i, j int) { sessions[i], sessions[j] = sessions[j], sessions[i] })
	better := s.leave()
	for _, ss := range sessions {
		ss.tell(goAway(over, better(ss)))
	}
	return sessions
}

// goAway has a device connect elsewhere, at a moment of its own, while others are
// sent away over a time.
func goAway(over time.Duration, better *protocol.Better) *protocol.GoingAway {
	return &protocol.GoingAway{AfterMS: 200 + rand.Int64N(1000+2*over.Milliseconds()), Better: better}
}

// pace ends sessions one after the other, spread over a time. When ctx ends
// before, it returns those that are left.
func (s *Server) pace(ctx context.Context, sessions []*session, over time.Duration, code protocol.CloseCode) (rest []*session) {
	if over <= 0 {
		return sessions
	}
	pause := time.NewTicker(max(over/time.Duration(max(len(sessions), 1)), time.Microsecond))
	defer pause.Stop()
	for i, ss := range sessions {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return sessions[i:]
		}
		s.goroutines.Go(func() { s.endWith(ss, code) })
	}
	return nil
}
