package signaling

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// binding is where the directory leads to for a session.
type binding struct {
	node  string // incarnation
	fence uint64
}

const (
	// rebindAtOnce is how many devices are bound anew at a time.
	rebindAtOnce = 64
	// rebindTries is how often, rebindAgain apart, that is tried while the
	// directory is away.
	rebindTries = 10
	rebindAgain = time.Second
)

// Regained binds anew the devices that the node has kept while it had no lease,
// and gives them what they have missed. It returns when that is done, or ctx
// ends. Give it to [directory.Directory.OnLease].
func (s *Server) Regained(ctx context.Context) {
	node := s.Nodes.Incarnation()
	s.mu.Lock()
	var all []*session
	for _, ss := range s.sessions {
		if ss.binding.node != node {
			all = append(all, ss)
		}
	}
	s.mu.Unlock()
	began := time.Now()
	var g errgroup.Group
	g.SetLimit(rebindAtOnce)
	for _, ss := range all {
		g.Go(func() error {
			if ctx.Err() == nil {
				s.rebind(ss)
			}
			return nil
		})
	}
	_ = g.Wait() // no error comes
	s.log.Info("devices bound anew", "devices", len(all), "after", time.Since(began))
}

// rebind binds a session's device anew, or ends the session: as replaced, if the
// device has a newer one; else so that the device connects again.
func (s *Server) rebind(ss *session) {
	for try := 1; ; try++ {
		node := s.Nodes.Incarnation()
		ctx, cancel := s.request()
		fence, held, err := s.Bindings.Rebind(ctx, ss.account, ss.device, ss.id, ss.started)
		cancel()
		switch {
		case errors.Is(err, directory.ErrLeaseLost):
			return // it is for the next lease
		case err == nil && !held:
			s.endWith(ss, protocol.CloseReplaced)
			return
		case err == nil:
			s.mu.Lock()
			ss.binding = binding{node, fence}
			s.mu.Unlock()
			s.catchUp(ss)
			return
		case try == rebindTries || !s.pause(rebindAgain):
			s.log.Warn("device not bound anew", "error", err)
			s.endWith(ss, protocol.CloseLease)
			return
		}
	}
}

// catchUp gives a device what it has missed while the directory led nowhere. One
// that took part in a call may have missed any part of it: it connects again and
// is told the state.
func (s *Server) catchUp(ss *session) {
	switch {
	case ss.over():
		// It ended meanwhile, with the fence before.
		s.unbind(ss)
	case ss.inCalls():
		s.endWith(ss, protocol.CloseLease)
	default:
		s.calls.joined(ss)
		ss.mail.look(ss)
	}
}
