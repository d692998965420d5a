package signaling

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/call"
	"switchboard/signaling/protocol"
)

// iceGet answers with media servers, and which candidates the caller-to-be may
// use. That depends on what he thinks of the callee, never on the opposite: else
// it would tell who has whom as a contact.
func (s *Server) iceGet(ctx context.Context, ss *session, m *protocol.ICEGet) (any, error) {
	if err := s.allowLookup(ss); err != nil {
		return nil, err
	}
	ice := s.Relays.For(m.Call, ss.account, s.calls.begun(ctx, ss, m))
	if m.To == "" {
		r, err := s.People.AccountOf(ctx, ss.account)
		if err != nil {
			return nil, err
		}
		ice.Policy = policyOf(hiding(directory.Relation{Contact: true, Settings: r.Settings}, directory.Relation{Contact: true}), ice)
		return &ice, nil
	}
	to, err := ss.dialled(m.To)
	if err != nil {
		return nil, err
	}
	callee, err := s.Numbers.Resolve(ctx, to)
	if err != nil && !errors.Is(err, directory.ErrNotFound) {
		return nil, err
	}
	own, err := s.opinion(ctx, ss, to, callee)
	if err != nil {
		return nil, err
	}
	ice.Policy = policyOf(hiding(own, directory.Relation{Contact: true}), ice)
	return &ice, nil
}

// begun is when the call began for which a device asks for servers: now, unless it
// is in it already.
func (k *calls) begun(ctx context.Context, ss *session, m *protocol.ICEGet) time.Time {
	if m.To == "" {
		r, _, _, err := k.load(ctx, m.Call)
		if _, in := r.Involves(string(ss.account), uint32(ss.device)); err == nil && in {
			return r.Created
		}
	}
	return time.Now()
}

// opinion tells what the session's account thinks of another, which need not be
// there.
func (s *Server) opinion(ctx context.Context, ss *session, n e164.Number, other directory.Account) (directory.Relation, error) {
	return s.People.Relation(ctx, ss.account, other, n)
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

// policyOf tells a side which candidates to use if its addresses are hidden.
// Without a relay it can use none until the call is answered, so it need not
// look for any sooner.
func policyOf(h call.Hide, ice protocol.ICE) protocol.ICEPolicy {
	switch {
	case h == call.HideAlways:
		return protocol.PolicyRelay
	case h == call.HideRinging && slices.ContainsFunc(ice.Servers, hasRelay):
		return protocol.PolicyRelayFirst
	}
	return protocol.PolicyAll
}

func hasRelay(s protocol.ICEServer) bool {
	return slices.ContainsFunc(s.URLs, func(u string) bool { return strings.HasPrefix(u, "turn") })
}

// ice is what a side of a call is given to connect with.
func (k *calls) ice(r *record, role protocol.Role) protocol.ICE {
	account, side := r.Caller.Account, &r.A
	if role == protocol.Callee {
		account, side = r.Callee.Account, &r.B
	}
	ice := k.srv.Relays.For(r.ID, directory.Account(account), r.Created)
	hide := side.Hide
	if hide == call.HideRinging && !r.Alerting() {
		hide = call.HideNothing
	}
	ice.Policy = policyOf(hide, ice)
	return ice
}
