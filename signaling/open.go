package signaling

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"switchboard/directory"
	"switchboard/signaling/auth"
	"switchboard/signaling/protocol"
)

// serve is the life of a connection: hello, then one frame after the other.
func (s *Server) serve(c *conn) {
	s.mu.Lock()
	s.opening[c] = struct{}{}
	s.mu.Unlock()
	if s.leaving() {
		c.close(protocol.CloseGoingAway)
	}
	ss, err := s.greet(c)
	s.mu.Lock()
	delete(s.opening, c)
	s.mu.Unlock()
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.metrics.connections.Inc()
	s.readFrames(c, ss)
	ss.detach(c)
	c.finish()
	s.metrics.connections.Dec()
	reason := c.closedAs()
	s.metrics.closed.WithLabelValues(reason).Inc()
	s.log.Debug("connection closed", "session", ss.id, "reason", reason)
}

// readFrames handles frames until the connection ends.
func (s *Server) readFrames(c *conn, ss *session) {
	patience := s.cfg.Heartbeat*2 + s.cfg.Heartbeat/2
	for {
		b, err := c.read(patience)
		if err != nil {
			if code := codeOfRead(err); code != 0 {
				c.close(code)
			}
			return
		}
		s.metrics.bytesIn.Add(float64(len(b)))
		goOn := false
		s.hands.do(func() { goOn = s.handle(c, ss, b) })
		if !goOn {
			return
		}
	}
}

// greet reads the first frame and opens or resumes a session.
func (s *Server) greet(c *conn) (ss *session, err error) {
	b, err := c.read(s.cfg.HelloTimeout)
	if err != nil {
		return nil, err
	}
	if !s.admit() {
		return nil, &refusal{protocol.CloseInternal, protocol.NewError(protocol.CodeUnavailable, "too many devices connect at the moment").After(time.Second)}
	}
	defer func() { <-s.greeting }()
	s.hands.do(func() { ss, err = s.hello(c, b) })
	return ss, err
}

const (
	// maxGreeting is how many hellos are worked on at a time. When all devices
	// of a node that died come at once, the others stand in line: were all of
	// them asked of the directory together, none would be answered in time.
	maxGreeting = 128
	// greetWithin is how long a connection may stand in line: less than clients
	// wait for welcome.
	greetWithin = 8 * time.Second
)

// admit waits until a hello may be worked on. It reports whether it may.
func (s *Server) admit() bool {
	select {
	case s.greeting <- struct{}{}:
		return true
	default:
	}
	t := time.NewTimer(greetWithin)
	defer t.Stop()
	select {
	case s.greeting <- struct{}{}:
		return true
	case <-t.C:
		return false
	}
}

// refusal is why a connection was not let in: what the client is told, and the
// code it is closed with.
type refusal struct {
	code  protocol.CloseCode
	cause *protocol.Error
}

func (r *refusal) Error() string { return r.code.String() }

func (s *Server) refuse(c *conn, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		r = &refusal{code: codeOfRead(err)}
		if r.code == protocol.CloseHeartbeat {
			r.code = protocol.CloseHello
		}
	}
	s.metrics.refused.WithLabelValues(refusedAs(r.code)).Inc()
	defer c.finish()
	if r.code == 0 {
		return
	}
	if r.cause != nil {
		if b, err := protocol.Encode(protocol.Frame{}, r.cause); err == nil {
			c.send(b)
		}
	}
	c.close(r.code)
}

func refusedAs(code protocol.CloseCode) string {
	if code == 0 {
		return "peer"
	}
	return code.String()
}

// hello opens or resumes the session that the first frame asks for.
func (s *Server) hello(c *conn, first []byte) (*session, error) {
	f, err := protocol.DecodeFrame(first)
	if err != nil {
		return nil, &refusal{protocol.CloseProtocol, asError(err)}
	}
	if f.T != protocol.TypeHello {
		return nil, &refusal{protocol.CloseProtocol, protocol.NewError(protocol.CodeMalformed, "the first frame must be hello")}
	}
	body, err := protocol.Decode(f, protocol.Client)
	if err != nil {
		return nil, &refusal{protocol.CloseProtocol, asError(err)}
	}
	h := body.(*protocol.Hello)
	ctx, cancel := s.request()
	defer cancel()
	id, err := s.Auth.Authenticate(ctx, h.Token)
	if err != nil {
		return nil, s.refusedToken(err)
	}
	if r := h.Resume; r != nil {
		if ss, err := s.resume(c, id, h); ss != nil || err != nil {
			return ss, err
		}
	}
	return s.open(c, id, h)
}

func (s *Server) refusedToken(err error) error {
	e := asError(err)
	if e.Category == protocol.CategoryAuth {
		return &refusal{protocol.CloseToken, e}
	}
	s.log.Warn("token not checked", "error", err)
	return &refusal{protocol.CloseInternal, protocol.NewError(protocol.CodeUnavailable, "tokens cannot be checked at the moment").After(time.Second)}
}

// resume gives c the session it asks for, or nil if this node does not have it.
func (s *Server) resume(c *conn, id auth.Identity, h *protocol.Hello) (*session, error) {
	r := h.Resume
	s.mu.Lock()
	ss := s.byID[r.Session]
	s.mu.Unlock()
	if ss == nil || ss.endpoint() != (endpoint{id.Account, id.Device}) || !ss.resumable(r.Key, r.S) {
		return nil, nil
	}
	snapshots, err := s.calls.snapshots(ss)
	if err != nil {
		return nil, err
	}
	at := s.placeOf(ss, c, h)
	ok := ss.attach(c, r.S, func(key string) *protocol.Welcome {
		ss.settle(at)
		return s.welcome(ss, key, protocol.ResumedFull, snapshots, at)
	})
	if !ok {
		return nil, nil
	}
	s.metrics.opened.WithLabelValues("resumed").Inc()
	ss.mail.restart(ss)
	s.watching.resumed(ss)
	return ss, nil
}

// open makes a new session, which takes the place of any other of the device.
func (s *Server) open(c *conn, id auth.Identity, h *protocol.Hello) (*session, error) {
	ss := &session{
		srv: s, id: newSecret()[:20], account: id.Account, device: id.Device, number: id.Number, started: time.Now(),
		mail:   pump{missed: id.Missed},
		frames: rate.NewLimiter(rate.Limit(s.cfg.Limits.FramesPerSecond), s.cfg.Limits.FramesBurst),
	}
	if h.Away {
		s.visit(ss)
	} else if err := s.bind(ss); err != nil {
		return nil, err
	}
	// From here on calls find the session; what they send waits for welcome.
	snapshots, err := s.calls.snapshots(ss)
	if err != nil {
		s.endWith(ss, protocol.CloseInternal)
		return nil, err
	}
	resumed := protocol.ResumedNone
	if h.Resume != nil {
		resumed = protocol.ResumedState
	}
	at := s.placeOf(ss, c, h)
	ok := ss.attach(c, 0, func(key string) *protocol.Welcome {
		ss.settle(at)
		for i := range snapshots {
			ss.enter(snapshots[i].Call)
		}
		return s.welcome(ss, key, resumed, snapshots, at)
	})
	if !ok {
		return nil, &refusal{protocol.CloseReplaced, nil}
	}
	if s.leaving() { // since it was let in
		ss.tell(goAway(s.cfg.DrainFor, s.leave()(ss)))
		s.endWith(ss, protocol.CloseGoingAway)
	}
	s.metrics.opened.WithLabelValues(string(resumed)).Inc()
	if !h.Away {
		s.calls.joined(ss, false)
	}
	if time.Since(id.Seen) >= auth.SeenEvery {
		s.goroutines.Go(func() { s.seen(ss) })
	}
	ss.mail.restart(ss)
	return ss, nil
}

// bind makes the session the one by which its device is found.
func (s *Server) bind(ss *session) error {
	ctx, cancel := s.request()
	defer cancel()
	node := s.Nodes.Incarnation()
	fence, prev, err := s.Bindings.Bind(ctx, ss.account, ss.device, ss.id)
	if err != nil {
		s.log.Warn("device not bound", "error", err)
		return &refusal{protocol.CloseInternal, protocol.NewError(protocol.CodeUnavailable, "the directory is away").After(time.Second)}
	}
	ss.binding = binding{node, fence}
	s.evict(ss, prev)
	if !s.register(ss) {
		// A connection that began later has bound the device already.
		return &refusal{protocol.CloseReplaced, nil}
	}
	if s.Nodes.Incarnation() != node { // the lease was lost and regained just now
		s.goroutines.Go(func() { s.rebind(ss); s.catchUp(ss) })
	}
	return nil
}

// visit lets an away session resume, without being found by anyone.
func (s *Server) visit(ss *session) {
	ss.visitor = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[ss.id] = ss
	s.visitors++
}

// register puts the session where it is found, unless a newer one of the same
// device is there, which the fence tells. An older one is replaced. Fences of
// different leases do not compare: NATS may have counted anew.
func (s *Server) register(ss *session) bool {
	s.mu.Lock()
	old := s.sessions[ss.endpoint()]
	if old != nil && old.binding.node == ss.binding.node && old.binding.fence > ss.binding.fence {
		s.mu.Unlock()
		return false
	}
	s.sessions[ss.endpoint()] = ss
	s.byID[ss.id] = ss
	if old != nil {
		delete(s.byID, old.id)
	}
	s.metrics.sessions.Set(float64(len(s.sessions)))
	s.mu.Unlock()
	if old != nil {
		old.finish(protocol.CloseReplaced)
	}
	return true
}

// evict tells the node that had the device that it has moved. It is a
// courtesy: the fence decides.
func (s *Server) evict(ss *session, prev *directory.Binding) {
	if prev == nil || prev.Node == s.Nodes.Incarnation() {
		return
	}
	s.goroutines.Go(func() {
		ctx, cancel := s.request()
		defer cancel()
		data, _ := json.Marshal(evictRequest{ss.device, prev.Conn, protocol.CloseReplaced})
		_, _ = s.Nodes.Ask(ctx, prev.Node, directory.Request{Kind: kindEvict, Account: ss.account, Data: data})
	})
}

func (s *Server) welcome(ss *session, key string, r protocol.Resumed, calls []protocol.CallSnapshot, at place) *protocol.Welcome {
	return &protocol.Welcome{
		Session: ss.id, Key: key, Resumed: r,
		Account: string(ss.account), Device: uint32(ss.device), Number: ss.number,
		Node: s.Nodes.Incarnation(), Server: "switchboard/" + s.Version, Features: []string{},
		HeartbeatMS: s.cfg.Heartbeat.Milliseconds(), Limits: s.cfg.limits(),
		ICE: s.Relays.Open(), Calls: calls, Push: s.wakers(),
		Region: at.region, Regions: at.regions, Better: at.better,
	}
}

// end ends a session whose device did not come back.
func (s *Server) end(ss *session) { s.endWith(ss, protocol.CloseSlow) }

// seen writes down that the device is connected, or was until now. It is asked for
// at most about once a day.
func (s *Server) seen(ss *session) {
	ctx, cancel := s.request()
	defer cancel()
	if err := s.Bindings.DeviceSeen(ctx, ss.account, ss.device, time.Now()); err != nil {
		s.log.Debug("device not noted as connected", "error", err) // the next time will do
	}
}

// endWith ends a session for good and removes the binding, unless a newer one
// is there.
func (s *Server) endWith(ss *session, code protocol.CloseCode) {
	if !ss.finish(code) {
		return
	}
	s.mu.Lock()
	if s.sessions[ss.endpoint()] == ss {
		delete(s.sessions, ss.endpoint())
	}
	delete(s.byID, ss.id)
	if ss.visitor {
		s.visitors--
	}
	s.metrics.sessions.Set(float64(len(s.sessions)))
	s.mu.Unlock()
	if time.Since(ss.started) >= auth.SeenEvery {
		s.seen(ss)
	}
	if ss.visitor {
		return
	}
	s.unbind(ss)
}

// unbind removes the binding of a session, unless a newer one is there. One of a
// lease that is lost is void, and its fence may be another's: NATS may have
// counted anew.
func (s *Server) unbind(ss *session) {
	s.mu.Lock()
	node, fence := ss.binding.node, ss.binding.fence
	s.mu.Unlock()
	if node != s.Nodes.Incarnation() {
		return
	}
	ctx, cancel := s.request()
	defer cancel()
	if _, err := s.Bindings.Unbind(ctx, ss.account, ss.device, fence); err != nil {
		// The record is harmless: whoever asks here is told that the device is gone.
		s.log.Warn("binding not removed", "error", err)
	}
}

// newSecret returns 160 random bits as 32 letters and digits.
func newSecret() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func encodeHTTPError(e *protocol.Error) []byte {
	b, _ := json.Marshal(protocol.ErrorReply{Error: e})
	return append(b, '\n')
}
