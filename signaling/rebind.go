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
	each(ctx, all, s.rebind)
	s.log.Info("devices bound anew", "devices", len(all), "after", time.Since(began))
	each(ctx, all, s.catchUp) // when all are found again
}

// rebind binds a session's device anew, or ends the session: as replaced, if the
// device has a newer one; else so that the device connects again.
func (s *Server) rebind(ss *session) {
	for try := 1; ; try++ {
		node := s.Nodes.Incarnation()
		ctx, cancel := s.request()
		fence, prev, err := s.Bindings.Rebind(ctx, ss.account, ss.device, ss.id, ss.started)
		cancel()
		switch {
		case errors.Is(err, directory.ErrLeaseLost):
			return // it is for the next lease
		case errors.Is(err, directory.ErrReplaced):
			s.endWith(ss, protocol.CloseReplaced)
			return
		case errors.Is(err, directory.ErrNotFound): // removed meanwhile
			s.endWith(ss, protocol.CloseToken)
			return
		case err == nil:
			s.evict(ss, prev)
			s.rebound(ss, binding{node, fence})
			return
		case try == rebindTries || !s.pause(rebindAgain):
			s.log.Warn("device not bound anew", "error", err)
			s.endWith(ss, protocol.CloseLease)
			return
		}
	}
}

// rebound notes a session's new binding, and removes it if the session has ended
// meanwhile with that of before.
func (s *Server) rebound(ss *session, b binding) {
	s.mu.Lock()
	ss.binding = b
	there := s.byID[ss.id] == ss
	s.mu.Unlock()
	if !there {
		s.unbind(ss)
	}
}

// catchUp gives a device what it has missed while the directory led nowhere.
func (s *Server) catchUp(ss *session) {
	if ss.over() {
		return
	}
	s.calls.retell(ss)
	s.calls.joined(ss, true)
	ss.mail.look(ss)
}

// each calls f for sessions, some at the same time, until ctx ends.
func each(ctx context.Context, sessions []*session, f func(*session)) {
	var g errgroup.Group
	g.SetLimit(rebindAtOnce)
	for _, ss := range sessions {
		g.Go(func() error {
			if ctx.Err() == nil {
				f(ss)
			}
			return nil
		})
	}
	_ = g.Wait() // no error comes
}
