package relay

import (
	"context"
	"fmt"
	"time"
)

// Drain takes the relay out of service: it refuses new allocations, and the
// registrar is told at once. Those that exist are served as before, and STUN is,
// but that an allocation through which no media goes for 20 s is ended, or for
// 80 s if none has yet. [Server.Resume] undoes it. To drain a relay that drains
// already does nothing.
func (s *Server) Drain() {
	s.drainMu.Lock()
	defer s.drainMu.Unlock()
	s.drain()
}

func (s *Server) drain() {
	if s.table.draining.Load() {
		return
	}
	s.drainBegan.Store(time.Now().UnixNano())
	s.table.draining.Store(true)
	s.metrics.draining.Set(1)
	s.log.Info("relay drains", "allocations", s.Allocations())
	s.tell()
	select {
	case s.drained <- struct{}{}:
	default: // it is told already
	}
}

// Resume puts a relay back into service that was drained: it opens allocations
// again, ends none for being unused, and the registrar is told at once. It does
// nothing when the relay does not drain, or when it is to end, which
// [Server.Shutdown] has decided.
func (s *Server) Resume() {
	s.drainMu.Lock()
	defer s.drainMu.Unlock()
	switch {
	case !s.table.draining.Load():
		return
	case s.shutdown:
		s.log.Warn("relay is to end; it is not put back into service")
		return
	}
	s.table.draining.Store(false)
	s.metrics.draining.Set(0)
	s.log.Info("relay is back in service", "allocations", s.Allocations())
	s.tell()
}

// Shutdown drains the relay for good, as [Server.Drain] does, and waits for the
// last allocation to end. When ctx ends first, Shutdown returns why. Either way
// the relay stays until the context of [Server.Serve] ends, and never opens
// allocations again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drainMu.Lock()
	s.shutdown = true
	s.drain()
	s.drainMu.Unlock()
	if err := s.table.wait(ctx); err != nil {
		return fmt.Errorf("relay: %d allocations left: %w", s.Allocations(), err)
	}
	return nil
}
