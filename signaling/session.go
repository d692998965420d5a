package signaling

import (
	"crypto/subtle"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
	"switchboard/signaling/region"
)

// session is what a node keeps of a device: while it is connected, and for a
// while after. Reliable frames are numbered, kept until the client has
// acknowledged them, and replayed to the connection that resumes the session.
type session struct {
	// Static after newSession.
	srv     *Server
	id      string
	account directory.Account
	device  directory.Device
	number  e164.Number
	started time.Time

	// Set once by open, before the session can be found.
	visitor bool // said that it is away: it has no binding

	// Guarded by the server's mu, once the session can be found.
	binding binding

	// Guarded by handling, which a connection's reader holds while it handles a
	// frame: after a resume the old connection's may not have ended yet.
	handling sync.Mutex
	frames   *rate.Limiter
	strikes  int
	invites  *rate.Limiter // nil until first used, as are the next two
	texts    *rate.Limiter
	lookups  *rate.Limiter
	writes   *rate.Limiter
	met      map[e164.Number]time.Time // strangers that count already, and until when

	// Guarded by the mu of watching.
	subscribed map[e164.Number]*subscription

	mail pump

	// Guarded by mu.
	mu      sync.Mutex
	key     string
	conn    *conn  // nil while the device is away
	region  string // where the device is best served; empty: not known
	reason  region.Reason
	trips   map[string]int // that it has measured, for who asks why; never changed
	ended   bool
	lastS   uint64 // highest number given to a reliable frame
	unacked []reliable
	bytes   int                 // of unacked
	away    *time.Timer         // ends the session if no connection comes
	calls   map[string]struct{} // that the device may believe to take part in; nil if there has been none
	rest    rest                // while the device is away
	items   uint64              // of the mailbox that were sent on this connection
}

// reliable is a numbered frame.
type reliable struct {
	s uint64
	b []byte
}

// tell queues a message for the device; reliable ones outlive the connection.
func (s *session) tell(b protocol.Body) {
	spec, _ := protocol.Lookup(b.Type())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.follow(b)
	s.count(b)
	f := protocol.Frame{}
	if spec.Reliable {
		f.S = s.lastS + 1
	}
	raw, err := protocol.Encode(f, b)
	if err != nil {
		s.srv.log.Error("message not encoded", "type", b.Type(), "error", err)
		return
	}
	if spec.Reliable {
		s.lastS++
		s.unacked = append(s.unacked, reliable{s.lastS, raw})
		s.bytes += len(raw)
		if len(s.unacked) > s.srv.cfg.Limits.UnackedFrames || s.bytes > s.srv.cfg.Limits.QueueBytes {
			s.overflow()
			return
		}
	}
	s.srv.metrics.framesOut.WithLabelValues(string(b.Type())).Inc()
	if s.conn != nil {
		s.conn.send(raw)
	} else {
		s.missing(b)
	}
}

// count counts the items of the mailbox on a connection. It must hold mu.
func (s *session) count(b protocol.Body) {
	switch b := b.(type) {
	case *protocol.MailboxItem:
		s.items++
		b.N = s.items
	case *protocol.MailboxDrained:
		b.N = s.items
	}
}

// follow notes the calls that the device is told of. It must hold mu.
func (s *session) follow(b protocol.Body) {
	switch b := b.(type) {
	case *protocol.CallIncoming:
		s.enter(b.Call)
	case *protocol.CallEnded:
		delete(s.calls, b.Call)
	}
}

// enter notes that the device takes part in a call. It must hold mu.
func (s *session) enter(call string) {
	if s.calls == nil {
		s.calls = map[string]struct{}{}
	}
	s.calls[call] = struct{}{}
}

// entered is enter for who does not hold mu.
func (s *session) entered(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enter(call)
}

// inCalls lists the calls that the device may believe to take part in.
func (s *session) inCalls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.calls))
}

// tellSpare queues a message that nobody misses, unless the device is away or
// slow. It reports whether it did.
func (s *session) tellSpare(b protocol.Body) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.conn == nil {
		return false
	}
	raw, err := protocol.Encode(protocol.Frame{}, b)
	if err != nil {
		s.srv.log.Error("message not encoded", "type", b.Type(), "error", err)
		return false
	}
	if !s.conn.sendSpare(raw) {
		return false
	}
	s.srv.metrics.framesOut.WithLabelValues(string(b.Type())).Inc()
	return true
}

// overflow ends a session whose client acknowledges nothing. It must hold mu.
// The device connects again and finds its state in the records.
func (s *session) overflow() {
	if s.conn != nil {
		s.conn.close(protocol.CloseSlow)
	}
	s.srv.goroutines.Go(func() { s.srv.end(s) })
}

// acked lets go of the reliable frames up to a.
func (s *session) acked(a uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.unacked) && s.unacked[n].s <= a {
		s.bytes -= len(s.unacked[n].b)
		n++
	}
	if s.unacked = s.unacked[n:]; len(s.unacked) == 0 {
		s.unacked = nil
	}
}

// attach gives the session a connection. The welcome that make returns is the
// first frame on it, and the unacknowledged ones follow. It reports false if
// the session has ended.
func (s *session) attach(c *conn, handled uint64, make func(key string) *protocol.Welcome) bool {
	s.acked(handled)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	if s.away != nil {
		s.away.Stop()
		s.away = nil
	}
	s.rest.end()
	if s.conn != nil {
		s.conn.close(protocol.CloseReplaced)
	}
	s.key = newSecret()
	raw, err := protocol.Encode(protocol.Frame{}, make(s.key))
	if err != nil {
		s.srv.log.Error("welcome not encoded", "error", err)
		return false
	}
	frames := [][]byte{raw}
	for _, r := range s.unacked {
		frames = append(frames, r.b)
	}
	s.conn, s.items = c, 0
	c.send(frames...)
	return true
}

// detach is told that c is gone. The session waits for another, unless c is no
// longer its connection.
func (s *session) detach(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != c || s.ended {
		return
	}
	s.conn = nil
	s.away = time.AfterFunc(s.srv.cfg.ResumeFor, func() {
		s.srv.goroutines.Go(func() { s.srv.end(s) })
	})
	s.retire()
}

// finish marks the session as ended and closes its connection, if it has one,
// with code. It reports whether this call did it.
func (s *session) finish(code protocol.CloseCode) bool {
	if !s.finished(code) {
		return false
	}
	s.srv.watching.drop(s)
	return true
}

func (s *session) finished(code protocol.CloseCode) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.ended = true
	if s.away != nil {
		s.away.Stop()
	}
	s.rest.end()
	if s.conn != nil {
		s.conn.close(code)
	}
	s.conn, s.unacked = nil, nil
	return true
}

// resumable reports whether a client that shows key may take the session up
// after frame handled.
func (s *session) resumable(key string, handled uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || subtle.ConstantTimeCompare([]byte(key), []byte(s.key)) != 1 || handled > s.lastS {
		return false
	}
	return len(s.unacked) == 0 || s.unacked[0].s <= handled+1
}

// is reports whether the connection is the session's.
func (s *session) is(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn == c && !s.ended
}

// over reports whether the session has ended.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *session) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil
}

// key of the table of sessions.
type endpoint struct {
	account directory.Account
	device  directory.Device
}

func (s *session) endpoint() endpoint { return endpoint{s.account, s.device} }
