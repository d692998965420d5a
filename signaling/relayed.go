package signaling

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/call"
	"switchboard/signaling/protocol"
)

// iceGet answers with media servers, and which candidates the device may use: in a
// call, as that has it; before one, by what its account thinks of the number, never
// by the opposite, which would tell who has whom as a contact.
func (s *Server) iceGet(ctx context.Context, ss *session, m *protocol.ICEGet) (any, error) {
	if err := s.allowLookup(ss); err != nil {
		return nil, err
	}
	if m.To == "" {
		r, _, _, err := s.calls.load(ctx, m.Call)
		if role, in := r.Involves(string(ss.account), uint32(ss.device)); err == nil && in {
			ice := s.calls.ice(&r, role)
			return &ice, nil
		}
	}
	own, err := s.towards(ctx, ss, m.To)
	if err != nil {
		return nil, err
	}
	ice := s.Relays.For(RelaysFor{Call: m.Call, Account: ss.account, Began: time.Now(), Region: ss.inRegion()})
	ice.Policy = policyOf(hiding(own, directory.Relation{Contact: true}))
	return &ice, nil
}

// towards tells what the session's account thinks of a number that it may call, or
// of a contact if none is given.
func (s *Server) towards(ctx context.Context, ss *session, dialled string) (directory.Relation, error) {
	if dialled == "" {
		r, err := s.People.AccountOf(ctx, ss.account)
		return directory.Relation{Contact: true, Settings: r.Settings}, err
	}
	to, err := ss.dialled(dialled)
	if err != nil {
		return directory.Relation{}, err
	}
	callee, err := s.Numbers.Resolve(ctx, to)
	if err != nil && !errors.Is(err, directory.ErrNotFound) {
		return directory.Relation{}, err
	}
	return s.opinion(ctx, ss, to, callee)
}

// opinion tells what the session's account thinks of another, which need not be
// there.
func (s *Server) opinion(ctx context.Context, ss *session, n e164.Number, other directory.Account) (directory.Relation, error) {
	return s.People.Relation(ctx, ss.account, other, n)
}

// Party is one side of a call: a number, and the account that has it, if any has.
type Party struct {
	Account directory.Account
	Number  e164.Number
}

// Policies tells which candidates each side of a call between two would be told to use
// while it rings, and whether the call would be kept from the callee, who blocks the
// caller. The caller must have an account.
func (s *Server) Policies(ctx context.Context, caller, callee Party) (own, theirs protocol.ICEPolicy, blocked bool, err error) {
	mine, other, err := s.opinions(ctx, caller, callee)
	return policyOf(hiding(mine, other)), policyOf(hiding(other, mine)), other.Blocked, err
}

// opinions tells what the caller's account thinks of the callee, and the opposite.
func (s *Server) opinions(ctx context.Context, caller, callee Party) (own, theirs directory.Relation, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		own, err = s.People.Relation(ctx, caller.Account, callee.Account, callee.Number)
		return err
	})
	g.Go(func() (err error) {
		theirs, err = s.thinks(ctx, callee.Account, caller)
		return err
	})
	err = g.Wait()
	return own, theirs, err
}

// hiding is how the addresses of somebody are kept from the other side of a call,
// of whom he thinks own, and who thinks theirs of him. Who rings a stranger does
// not learn where that is, and does not tell where he is himself.
func hiding(own, theirs directory.Relation) call.Hide {
	switch settingsOf(own.Settings).Relayed {
	case protocol.RelayedEveryone:
		return call.HideAlways
	case protocol.RelayedStrangers:
		if !own.Contact || !theirs.Contact {
			return call.HideRinging
		}
	}
	return call.HideNothing
}

// policyOf tells a side which candidates to use if its addresses are hidden, also
// where there is no relay: what the other side calls a relay may be its own.
func policyOf(h call.Hide) protocol.ICEPolicy {
	switch h {
	case call.HideAlways:
		return protocol.PolicyRelay
	case call.HideRinging:
		return protocol.PolicyRelayFirst
	}
	return protocol.PolicyAll
}

// ice is what a side of a call is given to connect with.
func (k *calls) ice(r *record, role protocol.Role) protocol.ICE {
	account, hide := r.Caller.Account, r.A.Hide
	if role == protocol.Callee {
		account, hide = r.Callee.Account, r.B.Hide
	}
	if hide == call.HideRinging && !r.Alerting() {
		hide = call.HideNothing
	}
	ice := k.srv.Relays.For(RelaysFor{Call: r.ID, Account: directory.Account(account), Began: r.Created, Region: r.Region})
	ice.Policy = policyOf(hide)
	return ice
}
