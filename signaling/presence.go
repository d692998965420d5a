package signaling

import (
	"context"
	"strconv"

	"golang.org/x/sync/errgroup"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// readsAtOnce is how many reads one request makes at the same time.
const readsAtOnce = 16

// presenceGet answers alike for a number that nobody has, one whose owner has
// never been here and one whose owner does not want to be seen.
func (s *Server) presenceGet(ctx context.Context, ss *session, m *protocol.PresenceGet) (any, error) {
	if err := s.allowLookup(ss); err != nil {
		return nil, err
	}
	if err := s.askers.take(ss.account, 1); err != nil {
		s.metrics.limited.WithLabelValues("presences").Inc()
		return nil, err
	}
	n, err := ss.dialled(m.Number)
	if err != nil {
		return nil, err
	}
	seen, err := s.presences(ctx, ss, []sought{{number: n}})
	if err != nil {
		return nil, err
	}
	return &seen[0], nil
}

// sought is a number that a session wants to know about.
type sought struct {
	number  e164.Number
	account directory.Account // "" if nobody has it, or it is not known yet
}

// resolve looks up who has the numbers. That nobody has one takes as long.
func (s *Server) resolve(ctx context.Context, list []sought) error {
	numbers := make([]e164.Number, len(list))
	for i, n := range list {
		numbers[i] = n.number
	}
	accounts, err := s.People.ResolveAll(ctx, numbers)
	if err != nil {
		return err
	}
	for i, a := range accounts {
		list[i].account = a
	}
	return nil
}

// presences finds the numbers and tells what the session may see of them. Those
// that nobody has cost as much as the others.
func (s *Server) presences(ctx context.Context, ss *session, list []sought) ([]protocol.Presence, error) {
	if err := s.resolve(ctx, list); err != nil {
		return nil, err
	}
	return s.look(ctx, ss, list)
}

// look tells what the session may see of numbers that have been looked up.
func (s *Server) look(ctx context.Context, ss *session, list []sought) ([]protocol.Presence, error) {
	accounts := make([]directory.Account, len(list))
	for i, n := range list {
		if accounts[i] = n.account; n.account == "" {
			accounts[i] = ss.account
		}
	}
	there, err := s.People.Presences(ctx, accounts)
	if err != nil {
		return nil, err
	}
	shown := make([]protocol.Presence, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readsAtOnce)
	for i, n := range list {
		g.Go(func() error {
			r, err := s.relation(ctx, n.account, ss)
			if err == nil {
				may := n.account != "" && (n.account == ss.account || maySee(r))
				shown[i] = seen(n.number, there[i], may)
			}
			return err
		})
	}
	return shown, g.Wait()
}

// presenceSubscribe answers with what there is to see now; from then on the
// session is told of changes.
func (s *Server) presenceSubscribe(ctx context.Context, ss *session, m *protocol.PresenceSubscribe) (any, error) {
	if ss.visitor {
		return nil, protocol.NewError(protocol.CodeUnsupported, "a session that is away is told of nothing")
	}
	list, err := ss.soughtAfter(m.Numbers)
	if err != nil {
		return nil, err
	}
	if err := s.askers.take(ss.account, len(list)); err != nil {
		s.metrics.limited.WithLabelValues("presences").Inc()
		return nil, err
	}
	if err := s.resolve(ctx, list); err != nil {
		return nil, err
	}
	// First the subscription, so that no change falls between.
	if err := s.watching.add(ss, list); err != nil {
		return nil, err
	}
	shown, err := s.look(ctx, ss, list)
	if err != nil {
		s.watching.untold(ss, list)
		return nil, err
	}
	s.watching.told(ss, shown)
	return &protocol.Presences{Presences: shown}, nil
}

func (s *Server) presenceUnsubscribe(ss *session, m *protocol.PresenceUnsubscribe) (any, error) {
	list, err := ss.soughtAfter(m.Numbers)
	if err != nil {
		return nil, err
	}
	s.watching.remove(ss, list)
	return nil, nil
}

// soughtAfter reads numbers as the session's owner would write them.
func (ss *session) soughtAfter(texts []string) ([]sought, error) {
	list := make([]sought, len(texts))
	for i, text := range texts {
		n, err := ss.dialled(text)
		if err != nil {
			return nil, asError(err).With("index", strconv.Itoa(i))
		}
		list[i].number = n
	}
	return list, nil
}
