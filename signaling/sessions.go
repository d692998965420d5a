package signaling

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"switchboard/directory"
	"switchboard/signaling/protocol"
	"switchboard/signaling/region"
)

// SessionState says where a session's device is.
type SessionState string

const (
	SessionConnected SessionState = "connected"
	SessionWaiting   SessionState = "waiting" // its connection is gone, and it may come back
	SessionVisitor   SessionState = "visitor" // connected without being found by others
)

// SessionInfo is what operators see of a session: no number, and nothing by
// which it could be taken over.
type SessionInfo struct {
	ID      string            `json:"session"`
	Account directory.Account `json:"account"`
	Device  directory.Device  `json:"device"`
	Since   time.Time         `json:"since"`
	State   SessionState      `json:"state"`
	Remote  string            `json:"remote,omitempty"` // address of the connection
	// Region is where the device is best served, by its last connection, and Reason why.
	Region string        `json:"region,omitempty"`
	Reason region.Reason `json:"reason,omitempty"`
	// RoundTrips are what the device has measured, in milliseconds by region. They are
	// told of one account's sessions alone.
	RoundTrips map[string]int `json:"round_trips,omitempty"`
}

// SessionQuery chooses sessions of a node.
type SessionQuery struct {
	Account directory.Account `json:"account,omitempty"` // empty: all
	After   string            `json:"after,omitempty"`   // only those whose ids follow
	Limit   int               `json:"limit"`             // at most MaxSessionPage, which stands for 0, too
}

// SessionPage is the answer, ordered by the sessions' ids.
type SessionPage struct {
	Sessions []SessionInfo `json:"sessions"`
	More     bool          `json:"more"` // further ones follow the last
}

// MaxSessionPage bounds a page, so that it fits into a NATS message.
const MaxSessionPage = 500

// ErrNoSession says that a device is not connected.
var ErrNoSession = errors.New("device has no session")

// ListSessions returns a page of the sessions of a node, this one or another.
// Errors are those of [directory.Directory.Ask].
func (s *Server) ListSessions(ctx context.Context, node string, q SessionQuery) (SessionPage, error) {
	if node == s.Nodes.Incarnation() {
		return s.page(q), nil
	}
	data, err := json.Marshal(q)
	if err != nil {
		return SessionPage{}, fmt.Errorf("list sessions: %w", err)
	}
	// Of an account, too, it is a request to the node: it need not wait for its turn.
	data, err = s.Nodes.Ask(ctx, node, directory.Request{Kind: kindSessions, Data: data})
	if err != nil {
		return SessionPage{}, fmt.Errorf("list sessions: %w", err)
	}
	var p SessionPage
	if err := json.Unmarshal(data, &p); err != nil {
		return SessionPage{}, fmt.Errorf("list sessions: the node's answer: %w", err)
	}
	return p, nil
}

// page returns sessions of this node.
func (s *Server) page(q SessionQuery) SessionPage {
	if q.Limit <= 0 || q.Limit > MaxSessionPage {
		q.Limit = MaxSessionPage
	}
	// The first of those that follow, and one more. Of many thousands, few are
	// among them, so that a page costs little more than looking at each.
	first := make([]*session, 0, q.Limit+2)
	for _, ss := range s.snapshot() {
		if ss.id <= q.After || q.Account != "" && ss.account != q.Account || len(first) > q.Limit && ss.id > first[q.Limit].id {
			continue
		}
		at, _ := slices.BinarySearchFunc(first, ss.id, func(have *session, id string) int { return cmp.Compare(have.id, id) })
		first = slices.Insert(first, at, ss)
		first = first[:min(len(first), q.Limit+1)]
	}
	more := len(first) > q.Limit
	first = first[:min(len(first), q.Limit)]
	p := SessionPage{Sessions: make([]SessionInfo, 0, len(first)), More: more}
	for _, ss := range first {
		i := ss.info()
		if q.Account == "" {
			i.RoundTrips = nil // a page of all must fit into a message
		}
		p.Sessions = append(p.Sessions, i)
	}
	return p
}

func (s *session) info() SessionInfo {
	i := SessionInfo{ID: s.id, Account: s.account, Device: s.device, Since: s.started.UTC().Truncate(time.Millisecond), State: SessionWaiting}
	s.mu.Lock()
	defer s.mu.Unlock()
	i.Region, i.Reason, i.RoundTrips = s.region, s.reason, s.trips
	if s.conn != nil {
		i.State, i.Remote = SessionConnected, s.conn.remote
		if s.visitor {
			i.State = SessionVisitor
		}
	}
	return i
}

// EndSession ends the session of a device, wherever it is connected; the device
// may connect again. [ErrNoSession] says that it has none.
func (s *Server) EndSession(ctx context.Context, a directory.Account, d directory.Device) error {
	if ss := s.find(a, d); ss != nil {
		s.endWith(ss, protocol.CloseOperator)
		return nil
	}
	bindings, err := s.Bindings.BindingsConfirmed(ctx, a)
	if err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	for _, b := range bindings {
		if b.Device != d || b.Node == s.Nodes.Incarnation() {
			continue
		}
		data, err := json.Marshal(evictRequest{d, b.Conn, protocol.CloseOperator})
		if err != nil {
			return fmt.Errorf("end session: %w", err)
		}
		data, err = s.Nodes.Ask(ctx, b.Node, directory.Request{Kind: kindEvict, Account: a, Data: data})
		if err != nil && !errors.Is(err, directory.ErrGone) {
			return fmt.Errorf("end session: %w", err)
		}
		if err == nil && string(data) == evicted {
			return nil
		}
	}
	return fmt.Errorf("end session: %w", ErrNoSession)
}

// EndSessionAt ends a session of a node, this one or another, by its name:
// whatever the directory knows of it, and visitors, too. The device may connect
// again. [ErrNoSession] says that the node has no such session; other errors are
// those of [directory.Directory.Ask].
func (s *Server) EndSessionAt(ctx context.Context, node, id string) error {
	if node == s.Nodes.Incarnation() {
		if !s.endNamed(id) {
			return fmt.Errorf("end session: %w", ErrNoSession)
		}
		return nil
	}
	data, err := s.Nodes.Ask(ctx, node, directory.Request{Kind: kindEnd, Data: []byte(id)})
	if err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	if string(data) != evicted {
		return fmt.Errorf("end session: %w", ErrNoSession)
	}
	return nil
}

// endNamed ends a session of this node and reports whether it was there.
func (s *Server) endNamed(id string) bool {
	s.mu.Lock()
	ss := s.byID[id]
	s.mu.Unlock()
	if ss == nil {
		return false
	}
	s.endWith(ss, protocol.CloseOperator)
	return true
}
