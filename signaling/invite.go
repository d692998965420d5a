package signaling

import (
	"context"
	"errors"
	"slices"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/call"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

// invite begins a call. A number that nobody has is treated as one whose
// devices are all away, so that calling does not tell which numbers exist.
func (s *Server) invite(ctx context.Context, ss *session, m *protocol.CallInvite) (any, error) {
	if ss.visitor {
		return nil, protocol.NewError(protocol.CodeUnsupported, "a session that is away cannot call")
	}
	l := s.cfg.Limits
	if err := s.allow(&ss.invites, l.InvitesPerMinute/60, l.InvitesBurst, "invites"); err != nil {
		return nil, err
	}
	to, err := ss.dialled(m.To)
	if err != nil {
		return nil, err
	}
	if to == ss.number {
		return nil, protocol.NewError(protocol.CodeSelf, "that is the caller's own number")
	}
	callee, err := s.Numbers.Resolve(ctx, to)
	if err != nil && !errors.Is(err, directory.ErrNotFound) {
		return nil, err
	}
	own, theirs, err := s.opinions(ctx, Party{ss.account, ss.number}, Party{callee, to})
	if err != nil {
		return nil, err
	}
	if err := s.approach(ctx, ss, to, theirs); err != nil {
		return nil, err
	}
	reply, err := s.calls.begin(ctx, ss, m, to, callee, own, theirs)
	if err != nil {
		return nil, err
	}
	s.met.meet(ss.account, to)
	return reply, nil
}

// begin writes the call's record, claims the pair of accounts and rings.
//
// The record comes before the pair, so that whoever finds the pair taken finds
// the call, too. Devices are looked for a second time once the call stands in
// the callee's list: one that binds after that finds it there.
//
// own is what the caller thinks of the callee, theirs the opposite.
func (k *calls) begin(ctx context.Context, ss *session, m *protocol.CallInvite, to e164.Number, callee directory.Account, own, theirs directory.Relation) (*protocol.CallInvited, error) {
	devices, err := k.ringable(ctx, callee)
	if err != nil {
		return nil, err
	}
	where, rule := ss.regionAndReason()
	r := record{From: ss.number, To: to, Region: where, Keeper: k.srv.Nodes.Incarnation()}
	blocked := theirs.Blocked
	if blocked {
		r.Shield, callee, devices = callee, "", shielded(devices)
		k.srv.metrics.blocked.Inc()
	}
	// Before the record, which says whom; a push for a call that then does not
	// begin finds nothing that rings.
	r.Woken = k.wakeForCall(ctx, m.Call, callee)
	var acts []call.Action
	r.Call, acts = call.New(call.Invite{
		ID: m.Call, Caller: call.Party{Account: string(ss.account), Device: uint32(ss.device)},
		Callee: string(callee), Devices: devices, Woken: len(r.Woken) > 0, Media: m.Media, SDP: m.SDP,
		HideCaller: hiding(own, theirs), HideCallee: hiding(theirs, own),
	}, now())
	data, ttl, err := r.encode()
	if err != nil {
		return nil, err
	}
	rev, err := k.srv.Records.Create(ctx, callKey(r.ID), data, ttl)
	if errors.Is(err, callstore.ErrExists) {
		return k.repeated(ctx, ss, m, to, acts)
	}
	if err != nil {
		return nil, err
	}
	if callee != "" || blocked {
		reply, err := k.claimOrMerge(ctx, ss, &r)
		if reply != nil || err != nil {
			// Nobody has heard of the call yet.
			if derr := k.srv.Records.Delete(ctx, callKey(r.ID), rev); derr != nil {
				k.srv.log.Warn("record of a call not removed", "error", derr)
			}
			return reply, err
		}
	}
	k.list(ctx, &r)
	k.srv.metrics.invites.Inc()
	k.srv.log.Info("relays chosen", "call", r.ID, "region", r.Region, "rule", rule, "relays", k.srv.Relays.Chosen(r.ID, r.Region))
	ss.entered(r.ID)
	k.timers.keep(r.ID, rev, r.Due)
	k.perform(ctx, &r, acts)
	switch {
	case callee != "":
		k.joinLate(ctx, &r, callee)
	case len(devices) > 0:
		k.pretend(r.ID)
	}
	return &protocol.CallInvited{Call: r.ID, To: to, State: r.State}, nil
}

func (k *calls) ringable(ctx context.Context, callee directory.Account) ([]uint32, error) {
	if callee == "" {
		return nil, nil
	}
	bound, err := k.srv.bound(ctx, callee)
	if err != nil {
		return nil, err
	}
	devices := make([]uint32, len(bound))
	for i, d := range bound {
		devices[i] = uint32(d)
	}
	return devices, nil
}

// joinLate rings devices that connected while the call began.
func (k *calls) joinLate(ctx context.Context, r *record, callee directory.Account) {
	devices, err := k.ringable(ctx, callee)
	if err != nil {
		k.srv.log.Warn("devices not looked up again", "error", err)
		return
	}
	for _, d := range devices {
		if _, in := r.Involves(string(callee), d); !in {
			k.join(ctx, r.ID, d)
		}
	}
}

func (k *calls) join(ctx context.Context, id string, device uint32) {
	_, err := k.change(ctx, id, func(record) (call.Event, error) { return call.Join{Device: device}, nil })
	var se *call.StateError
	if err != nil && !errors.As(err, &se) && !errors.Is(err, callstore.ErrNotFound) {
		k.srv.log.Warn("device not rung", "error", err)
	}
}

// repeated answers an invite whose id is in use: with the state of the call if
// it is the same invite, else with a conflict. As long as nobody has been reached,
// what follows from it is done again: whoever wrote the record may not have heard
// that it was written.
func (k *calls) repeated(ctx context.Context, ss *session, m *protocol.CallInvite, to e164.Number, acts []call.Action) (*protocol.CallInvited, error) {
	r, _, rev, err := k.load(ctx, m.Call)
	if err != nil {
		return nil, err
	}
	same := r.Caller == call.Party{Account: string(ss.account), Device: uint32(ss.device)} &&
		r.To == to && slices.Equal(r.Media, m.Media) && (r.A.N > 0 || r.A.Same(m.SDP))
	if !same {
		return nil, protocol.NewError(protocol.CodeConflict, "the id belongs to another call")
	}
	if callee := directory.Account(r.Callee.Account); r.State == protocol.Trying && callee != "" {
		k.list(ctx, &r)
		ss.entered(r.ID)
		k.timers.keep(r.ID, rev, r.Due)
		k.perform(ctx, &r, slices.DeleteFunc(acts, func(a call.Action) bool {
			ring, ok := a.(call.Ring)
			if !ok {
				return false
			}
			_, in := r.Involves(string(callee), ring.Device)
			return !in
		}))
		k.joinLate(ctx, &r, callee)
	}
	return &protocol.CallInvited{Call: r.ID, To: to, State: r.State}, nil
}

// pairKey names the two accounts of a call, whoever calls. A call that is kept
// from the callee is no part of the pair.
func pairKey(r *record) string {
	if r.Shield != "" {
		return "p." + r.Caller.Account + "." + string(r.Shield) + ".b"
	}
	a, b := r.Caller.Account, r.Callee.Account
	return "p." + min(a, b) + "." + max(a, b)
}

// pairFor is longer than a call can wait for an answer.
const pairFor = call.RingFor + 15*time.Second

// claim takes the pair of accounts for a call that is about to ring, so that
// two people who call each other at the same moment end up in one call. It
// returns the id of the call that the other side has begun already, or "".
func (k *calls) claim(ctx context.Context, r *record) (string, error) {
	key := pairKey(r)
	for range maxTries {
		_, err := k.srv.Records.Create(ctx, key, []byte(r.ID), pairFor)
		if !errors.Is(err, callstore.ErrExists) {
			return "", err
		}
		held, rev, err := k.srv.Records.Load(ctx, key)
		if errors.Is(err, callstore.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", err
		}
		other, done, err := k.holder(ctx, r, string(held))
		if done || err != nil {
			return other, err
		}
		_, err = k.srv.Records.Save(ctx, key, []byte(r.ID), rev, pairFor)
		if !errors.Is(err, callstore.ErrConflict) {
			return "", err
		}
	}
	return "", callstore.ErrConflict
}

// holder decides about the call that holds the pair. If done, the pair stays
// with it, and the id returned is the call to merge into, if any.
func (k *calls) holder(ctx context.Context, r *record, id string) (merge string, done bool, err error) {
	h, _, _, err := k.load(ctx, id)
	switch {
	case errors.Is(err, callstore.ErrNotFound):
		return "", false, nil
	case err != nil:
		return "", false, err
	case !h.Alerting() || overdue(&h) != "":
		return "", false, nil
	case h.Caller.Account == r.Callee.Account:
		return h.ID, true, nil // glare
	case h.Caller == r.Caller:
		// The device has begun again, perhaps after a crash: the old call goes.
		_, err := k.change(ctx, id, func(record) (call.Event, error) { return call.Supersede{}, nil })
		return "", false, ignoreNotFound(err)
	}
	return "", true, nil // another device of the same account calls, too
}

func ignoreNotFound(err error) error {
	if errors.Is(err, callstore.ErrNotFound) {
		return nil
	}
	return err
}

// claimOrMerge claims the pair for a call, or merges it into the one that has it,
// and then returns what to tell the caller. The other side may give its call up, or
// have it answered by another device, at that very moment: then the pair is free.
func (k *calls) claimOrMerge(ctx context.Context, ss *session, r *record) (*protocol.CallInvited, error) {
	for range maxTries {
		other, err := k.claim(ctx, r)
		if err != nil || other == "" {
			return nil, err
		}
		reply, err := k.merge(ctx, ss, other, r)
		var se *call.StateError
		if !errors.As(err, &se) && !errors.Is(err, callstore.ErrNotFound) {
			return reply, err
		}
	}
	return nil, callstore.ErrConflict
}

// merge makes the inviting device the one that answers the other side's call.
func (k *calls) merge(ctx context.Context, ss *session, into string, own *record) (*protocol.CallInvited, error) {
	r, err := k.change(ctx, into, func(record) (call.Event, error) { return call.Join{Device: uint32(ss.device)}, nil })
	if err != nil {
		return nil, err
	}
	k.srv.metrics.merged.Inc()
	k.ring(ctx, &r, uint32(ss.device), true)
	return &protocol.CallInvited{Call: own.ID, To: own.To, State: r.State, Merged: into}, nil
}
