package relay

import "context"

// Registrar makes a relay known to those who send clients to it.
type Registrar interface {
	// Run tells them what status returns, time and again, and at once whenever
	// changed can be received from, until ctx ends; then it takes the relay out. What
	// keeps it from that it tells the log: a relay serves whether it is known or not.
	Run(ctx context.Context, status func() Status, changed <-chan struct{})
}

// Status is what others may know of a relay.
type Status struct {
	// Addrs are those that it listens on.
	Addrs Addrs
	// Allocations are those that exist, and Max those that may.
	Allocations, Max int
	// Draining says that it opens no allocations any more.
	Draining bool
}

// Status returns what others may know of the relay now.
func (s *Server) Status() Status {
	return Status{
		Addrs: s.Addrs(), Allocations: s.Allocations(), Max: s.config.Quotas.Allocations,
		Draining: s.table.draining.Load(),
	}
}

// register has the relay known until ctx ends. The channel that it returns is closed
// when it has been taken out.
func (s *Server) register(ctx context.Context) <-chan struct{} {
	out := make(chan struct{})
	if s.registrar == nil {
		close(out)
		return out
	}
	go func() {
		defer close(out)
		s.registrar.Run(ctx, s.Status, s.changed)
	}()
	return out
}

// tell has the registrar tell what has changed.
func (s *Server) tell() {
	select {
	case s.changed <- struct{}{}:
	default: // it will
	}
}
