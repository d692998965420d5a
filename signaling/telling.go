package signaling

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"switchboard/directory"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

const (
	// tellFor is how long it is tried to reach a device that is connected to a
	// node that does not answer, or that the directory cannot find: about as long
	// as NATS takes to elect a leader. After that, a node without NATS has lost
	// its lease and catches up by itself.
	tellFor = 15 * time.Second
	// tellAgain is how long to wait at first between two tries; it doubles up to
	// tellAgainMost.
	tellAgain     = 100 * time.Millisecond
	tellAgainMost = time.Second
	// maxUntold bounds what waits for one device, and maxBehind how many devices
	// something waits for: a node that died has many.
	maxUntold = 64
	maxBehind = 4096
)

// telling keeps what could not be told to a device of another node, and tries
// again, in order: what comes later waits behind it. A ring that is lost is not
// missed by anybody until the caller gives up.
type telling struct {
	srv *Server

	// Guarded by mu.
	mu     sync.Mutex
	behind map[endpoint][]untold // a goroutine for each
}

// untold is a request that has failed.
type untold struct {
	kind  string
	v     any
	local func(*session)             // when the device has come to this node meanwhile
	still func(context.Context) bool // whether it is still so; nil: it is
	away  func(context.Context)      // if it turns out that the device is nowhere; nil: nothing
	until time.Time
}

// queue puts u behind what waits for the device already. It reports false if
// nothing does.
func (t *telling) queue(e endpoint, u untold) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queueLocked(e, u)
}

func (t *telling) queueLocked(e endpoint, u untold) bool {
	waiting, ok := t.behind[e]
	switch {
	case !ok:
		return false
	case len(waiting) >= maxUntold:
		t.srv.metrics.undelivered.WithLabelValues("full").Inc()
	default:
		t.behind[e] = append(waiting, u)
	}
	return true
}

// keep begins to try again.
func (t *telling) keep(e endpoint, u untold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queueLocked(e, u) {
		return
	}
	if len(t.behind) >= maxBehind || !t.srv.goroutines.Go(func() { t.run(e) }) {
		t.srv.metrics.undelivered.WithLabelValues("full").Inc()
		return
	}
	if t.behind == nil {
		t.behind = map[endpoint][]untold{}
	}
	t.behind[e] = append(t.behind[e], u)
}

// devices counts those that something waits for.
func (t *telling) devices() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.behind)
}

// run tries until all is told, or was for too long.
func (t *telling) run(e endpoint) {
	wait := tellAgain
	for u, ok := t.first(e); ok; {
		if !t.srv.pause(wait/2 + rand.N(wait)) {
			return // the server stops, and with it the queue
		}
		if !t.srv.once(e, u) && time.Now().Before(u.until) {
			wait = min(2*wait, tellAgainMost)
			continue
		}
		wait = tellAgain
		for u, ok = t.next(e); ok && t.srv.once(e, u); u, ok = t.next(e) {
		}
	}
}

// first is what to try next.
func (t *telling) first(e endpoint) (untold, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.behind[e][0], true
}

// next removes the first and returns what is then. When there is nothing, the
// device is not behind any more.
func (t *telling) next(e endpoint) (untold, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	waiting := t.behind[e][1:]
	if len(waiting) == 0 {
		delete(t.behind, e)
		return untold{}, false
	}
	t.behind[e] = waiting
	return waiting[0], true
}

// once tries to reach a device, and reports whether there is nothing to be tried
// again: it was reached, or is nowhere, and will find the state when it connects.
func (s *Server) once(e endpoint, u untold) bool {
	ctx, cancel := s.request()
	defer cancel()
	if u.still != nil && !u.still(ctx) {
		return true
	}
	if ss := s.find(e.account, e.device); ss != nil {
		u.local(ss)
		return true
	}
	how := s.ask(ctx, e.account, e.device, u.kind, u.v)
	if how == nowhere && u.away != nil {
		u.away(ctx) // it was thought to be somewhere, and so has not been woken
	}
	return how != untoldYet
}

// reach asks the device's node, now and, if that fails, again for a while.
func (s *Server) reach(ctx context.Context, a directory.Account, d directory.Device, u untold) {
	e := endpoint{a, d}
	u.until = time.Now().Add(tellFor)
	if !s.telling.queue(e, u) && s.ask(ctx, a, d, u.kind, u.v) == untoldYet {
		s.telling.keep(e, u)
	}
}

// stillSo returns what tells whether a message is still true: a device must not
// be rung for a call that is over, of which another node has told it.
func (s *Server) stillSo(b protocol.Body) func(context.Context) bool {
	in, ok := b.(*protocol.CallIncoming)
	if !ok {
		return nil
	}
	return func(ctx context.Context) bool {
		r, _, _, err := s.calls.load(ctx, in.Call)
		return err == nil && (r.Alerting() || in.Merged) || errors.Is(err, callstore.ErrUnavailable)
	}
}

// lasting reports whether a message is still worth telling a little later.
func lasting(b protocol.Body) bool {
	spec, ok := protocol.Lookup(b.Type())
	return ok && spec.Reliable
}
