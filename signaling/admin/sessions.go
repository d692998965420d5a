package admin

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"switchboard/directory"
	"switchboard/signaling"
)

// stateUnknown is the state of a session whose node does not tell.
const stateUnknown = "unknown"

func (a *API) nodeSessions(ctx context.Context, r nodeSessionsRequest) (Sessions, error) {
	n, err := a.node(r.Node)
	if err != nil {
		return Sessions{}, err
	}
	p, err := a.deps.Sessions.ListSessions(ctx, n.Incarnation, signaling.SessionQuery{After: r.After, Limit: r.Limit})
	if err != nil {
		return Sessions{}, err
	}
	answer := Sessions{Sessions: []Session{}}
	for _, s := range p.Sessions {
		answer.Sessions = append(answer.Sessions, sessionOf(n, s))
	}
	if p.More && len(p.Sessions) > 0 {
		answer.Next = p.Sessions[len(p.Sessions)-1].ID
	}
	return answer, nil
}

func sessionOf(n Node, s signaling.SessionInfo) Session {
	return Session{
		Session: s.ID, Account: s.Account, Device: s.Device, Node: n.Incarnation, NodeName: n.Node,
		Since: s.Since, State: string(s.State), Remote: s.Remote,
		Region: s.Region, Rule: string(s.Reason), RoundTrips: s.RoundTrips,
	}
}

func (a *API) accountSessions(ctx context.Context, r accountRequest) (Sessions, error) {
	if _, err := a.deps.Numbers.AccountOf(ctx, r.Account); err != nil {
		return Sessions{}, missing(err, "there is no such account")
	}
	all, err := a.sessionsOf(ctx, r.Account)
	return Sessions{Sessions: all}, err
}

// askWithin bounds how long one node is waited for to tell of its sessions.
const askWithin = 3 * time.Second

// sessionsOf lists the sessions of an account: the bindings, with what their
// nodes tell of them. A node that tells nothing may be the very reason to ask.
func (a *API) sessionsOf(ctx context.Context, account directory.Account) ([]Session, error) {
	bindings, err := a.deps.Presence.BindingsConfirmed(ctx, account)
	if err != nil {
		return nil, err
	}
	nodes := map[string]Node{}
	for _, n := range a.deps.Fleet.Nodes() {
		nodes[n.Incarnation] = n
	}
	all := make([]Session, len(bindings))
	var asking sync.WaitGroup
	for i, b := range bindings {
		n := nodes[b.Node]
		n.Incarnation = b.Node
		asking.Go(func() { all[i] = sessionOf(n, a.sessionAt(ctx, b)) })
	}
	asking.Wait()
	slices.SortFunc(all, func(x, y Session) int { return cmp.Compare(x.Session, y.Session) })
	return all, nil
}

// sessionAt is the session of a binding as its node tells of it.
func (a *API) sessionAt(ctx context.Context, b directory.Binding) signaling.SessionInfo {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	p, err := a.deps.Sessions.ListSessions(ctx, b.Node, signaling.SessionQuery{Account: b.Account})
	if err != nil {
		a.log.Debug("node does not tell of its sessions", "node", b.Node, "error", err)
	}
	for _, s := range p.Sessions {
		if s.ID == b.Conn {
			return s
		}
	}
	return signaling.SessionInfo{ID: b.Conn, Account: b.Account, Device: b.Device, Since: b.Since, State: stateUnknown}
}

func (a *API) endSession(ctx context.Context, r deviceRequest) (Done, error) {
	return Done{true}, a.deps.Sessions.EndSession(ctx, r.Account, r.Device)
}

func (a *API) endNodeSession(ctx context.Context, r nodeSessionRequest) (Done, error) {
	n, err := a.node(r.Node)
	if err != nil {
		return Done{}, err
	}
	return Done{true}, a.deps.Sessions.EndSessionAt(ctx, n.Incarnation, r.Session)
}
