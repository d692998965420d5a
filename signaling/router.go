package signaling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"switchboard/directory"
	"switchboard/signaling/protocol"
	"switchboard/signaling/push"
)

// Kinds of requests between nodes.
const (
	kindTell  = "tell"  // queue a message for a device
	kindPoke  = "poke"  // a device's mailbox has something
	kindEvict = "evict" // end a certain session of a device, which has a newer one elsewhere, or must have none

	// To a node, of no account.
	kindSessions = "sessions" // tell a page of the sessions
	kindEnd      = "end"      // end the session of that name
	kindDrain    = "drain"    // send the sessions elsewhere and take no new ones
	kindUndrain  = "undrain"  // take sessions again
)

// evicted is the answer to kindEvict and kindEnd when the session was there.
const evicted = "ended"

type tellRequest struct {
	Device directory.Device `json:"device"`
	Type   protocol.Type    `json:"type"`
	Body   json.RawMessage  `json:"body"`
}

type pokeRequest struct {
	Device directory.Device `json:"device"`
	Seq    uint64           `json:"seq"`
	Text   bool             `json:"text,omitempty"`
}

// news is what a device is told of its mailbox.
type news struct {
	seq  uint64 // it reaches to here
	text bool   // with something for which a sleeping device is woken
}

type evictRequest struct {
	Device  directory.Device   `json:"device"`
	Session string             `json:"session"`
	Code    protocol.CloseCode `json:"code"`
}

// find returns the session of a device on this node, or nil.
func (s *Server) find(a directory.Account, d directory.Device) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[endpoint{a, d}]
}

// tell sends a message to a device, wherever it is connected. A device that is
// nowhere misses it: it finds the state when it connects. One whose node does not
// answer may be told twice.
func (s *Server) tell(ctx context.Context, a directory.Account, d directory.Device, b protocol.Body) {
	if a == "" {
		return // nobody, or a phantom
	}
	if ss := s.find(a, d); ss != nil {
		ss.tell(b)
		return
	}
	body, err := json.Marshal(b)
	if err != nil {
		s.log.Error("message not encoded", "type", b.Type(), "error", err)
		return
	}
	t := tellRequest{d, b.Type(), body}
	if !lasting(b) {
		s.ask(ctx, a, d, kindTell, t)
		return
	}
	s.reach(ctx, a, d, untold{kind: kindTell, v: t, local: func(ss *session) { ss.tell(b) }, still: s.stillSo(b)})
}

// poke tells the node of a device that there is something in its mailbox.
func (s *Server) poke(ctx context.Context, a directory.Account, d directory.Device, n news) {
	if ss := s.find(a, d); ss != nil {
		ss.mail.poke(ss, n)
		return
	}
	u := untold{kind: kindPoke, v: pokeRequest{d, n.seq, n.text}, local: func(ss *session) { ss.mail.poke(ss, n) }}
	if n.text {
		u.away = func(ctx context.Context) { s.wakeDevice(ctx, a, d, push.Wake{Reason: push.Message}) }
	}
	s.reach(ctx, a, d, u)
}

// ask sends a request to the node that a device is bound to, if it is another.
// It reports untoldYet if that may help another time.
func (s *Server) ask(ctx context.Context, a directory.Account, d directory.Device, kind string, v any) outcome {
	bindings, err := s.Bindings.Bindings(ctx, a)
	if err != nil {
		s.metrics.undelivered.WithLabelValues("directory").Inc()
		s.log.Debug("device not found", "kind", kind, "error", err)
		return untoldYet
	}
	for _, b := range bindings {
		if b.Device != d || b.Node == s.Nodes.Incarnation() {
			continue
		}
		data, err := json.Marshal(v)
		if err != nil {
			s.log.Error("request not encoded", "kind", kind, "error", err)
			return told
		}
		if _, err := s.Nodes.Ask(ctx, b.Node, directory.Request{Kind: kind, Account: a, Data: data}); err != nil {
			s.metrics.undelivered.WithLabelValues("node").Inc()
			s.log.Debug("node did not take a request", "kind", kind, "error", err)
			return untoldYet
		}
		return told
	}
	s.metrics.undelivered.WithLabelValues("away").Inc()
	return nowhere
}

// outcome is what came of asking the node of a device.
type outcome int

const (
	told      outcome = iota
	nowhere           // the device is not connected
	untoldYet         // another time it may be
)

// Answer handles a request of another node. Requests of one account must come
// one after the other; give it to [directory.Directory.Answer]. Those of no
// account are to the node itself.
func (s *Server) Answer(ctx context.Context, r directory.Request) ([]byte, error) {
	switch r.Kind {
	case kindTell:
		var t tellRequest
		if err := json.Unmarshal(r.Data, &t); err != nil {
			return nil, fmt.Errorf("tell: %w", err)
		}
		body, err := protocol.Decode(protocol.Frame{T: t.Type, D: t.Body}, protocol.Server)
		if err != nil {
			return nil, fmt.Errorf("tell: %w", err)
		}
		if ss := s.find(r.Account, t.Device); ss != nil {
			ss.tell(body)
			return nil, nil
		}
	case kindPoke:
		var p pokeRequest
		if err := json.Unmarshal(r.Data, &p); err != nil {
			return nil, fmt.Errorf("poke: %w", err)
		}
		if ss := s.find(r.Account, p.Device); ss != nil {
			ss.mail.poke(ss, news{p.Seq, p.Text})
			return nil, nil
		}
	case kindEvict:
		var e evictRequest
		if err := json.Unmarshal(r.Data, &e); err != nil {
			return nil, fmt.Errorf("evict: %w", err)
		}
		if ss := s.find(r.Account, e.Device); ss != nil && ss.id == e.Session {
			s.endWith(ss, e.Code)
			return []byte(evicted), nil
		}
		return nil, nil
	case kindSessions:
		var q SessionQuery
		if err := json.Unmarshal(r.Data, &q); err != nil {
			return nil, fmt.Errorf("sessions: %w", err)
		}
		return json.Marshal(s.page(q))
	case kindEnd:
		if !s.endNamed(string(r.Data)) {
			return nil, nil
		}
		return []byte(evicted), nil
	case kindDrain, kindUndrain:
		s.drainAsked(r.Kind)
		return nil, nil
	default:
		return nil, fmt.Errorf("unknown kind of request")
	}
	return nil, errGone
}

var errGone = errors.New("device is not here")

// Forget ends the session of a device that has been removed, wherever it is
// connected. It must not connect again.
func (s *Server) Forget(ctx context.Context, a directory.Account, d directory.Device) {
	if ss := s.find(a, d); ss != nil {
		s.endWith(ss, protocol.CloseToken)
		return
	}
	bindings, err := s.Bindings.Bindings(ctx, a)
	if err != nil {
		s.log.Warn("session of a removed device not ended", "error", err)
	}
	for _, b := range bindings {
		if b.Device == d {
			s.ask(ctx, a, d, kindEvict, evictRequest{d, b.Conn, protocol.CloseToken})
		}
	}
}

// Renumbered ends the sessions of an account that has got another number, wherever
// they are. Their devices come back at once; welcome tells them the number, and
// calls go on.
func (s *Server) Renumbered(ctx context.Context, a directory.Account) {
	for _, ss := range s.snapshot() {
		if ss.account == a {
			s.endWith(ss, protocol.CloseNumber)
		}
	}
	bindings, err := s.Bindings.BindingsConfirmed(ctx, a)
	if err != nil {
		s.log.Warn("sessions of an account with another number not ended", "error", err)
	}
	for _, b := range bindings {
		s.ask(ctx, a, b.Device, kindEvict, evictRequest{b.Device, b.Conn, protocol.CloseNumber})
	}
}

// bound lists the devices of an account that can be told something now. That
// there are none is confirmed, because a replica may lag.
func (s *Server) bound(ctx context.Context, a directory.Account) ([]directory.Device, error) {
	bindings, err := s.Bindings.Bindings(ctx, a)
	if err == nil && len(bindings) == 0 {
		bindings, err = s.Bindings.BindingsConfirmed(ctx, a)
	}
	if err != nil {
		return nil, err
	}
	devices := make([]directory.Device, 0, len(bindings))
	for _, b := range bindings {
		devices = append(devices, b.Device)
	}
	return devices, nil
}
