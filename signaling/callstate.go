package signaling

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"switchboard/directory"
	"switchboard/signaling/call"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

// maxListed is how many calls of one account are remembered at a time. More
// can be held; a device that reconnects hears of the newest.
const maxListed = 16

func listKey(account string) string { return "a." + account }

// list puts the call into the lists of both accounts, in which a device that
// connects finds it.
func (k *calls) list(ctx context.Context, r *record) {
	k.relistBoth(ctx, r, func(ids []string) []string {
		ids = append(ids, r.ID)
		return ids[max(0, len(ids)-maxListed):]
	})
}

// unlist removes it.
func (k *calls) unlist(ctx context.Context, r *record) {
	k.relistBoth(ctx, r, func(ids []string) []string {
		return slices.DeleteFunc(ids, func(id string) bool { return id == r.ID })
	})
}

// relistBoth changes both accounts' lists, at the same time: somebody waits for it.
func (k *calls) relistBoth(ctx context.Context, r *record, change func([]string) []string) {
	var both sync.WaitGroup
	both.Go(func() { k.relist(ctx, r.Caller.Account, change) })
	k.relist(ctx, r.Callee.Account, change)
	both.Wait()
}

// relist changes an account's list. A list that could not be changed costs a
// device that reconnects a look at a call that is over, or a missed ring.
func (k *calls) relist(ctx context.Context, account string, change func([]string) []string) {
	if account == "" {
		return
	}
	for range maxTries {
		ids, rev, err := k.listed(ctx, account)
		if err == nil {
			err = k.writeList(ctx, account, change(ids), rev)
		}
		if errors.Is(err, callstore.ErrConflict) || errors.Is(err, callstore.ErrExists) {
			continue
		}
		if err != nil {
			k.srv.log.Warn("list of calls not changed", "error", err)
		}
		return
	}
	k.srv.log.Warn("list of calls not changed", "error", callstore.ErrConflict)
}

// listed returns the ids of an account's calls; revision 0 means that there is
// no list.
func (k *calls) listed(ctx context.Context, account string) ([]string, uint64, error) {
	data, rev, err := k.srv.Records.Load(ctx, listKey(account))
	if errors.Is(err, callstore.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var ids []string
	if err := json.Unmarshal(data, &ids); err != nil {
		k.srv.log.Warn("list of calls is broken and begins anew", "error", err)
		return nil, rev, nil
	}
	return ids, rev, nil
}

func (k *calls) writeList(ctx context.Context, account string, ids []string, rev uint64) error {
	if len(ids) == 0 && rev == 0 {
		return nil
	}
	if len(ids) == 0 {
		return k.srv.Records.Delete(ctx, listKey(account), rev)
	}
	data, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	if rev == 0 {
		_, err = k.srv.Records.Create(ctx, listKey(account), data, liveFor)
		return err
	}
	_, err = k.srv.Records.Save(ctx, listKey(account), data, rev, liveFor)
	return err
}

// current loads the account's calls that are not over. One whose time ran out
// while no node held its timer is ended here. An error says that there may be
// more.
func (k *calls) current(account directory.Account) ([]record, error) {
	ctx, cancel := k.srv.request()
	defer cancel()
	ids, _, err := k.listed(ctx, string(account))
	if err != nil {
		k.srv.log.Warn("calls not listed", "error", err)
		return nil, err
	}
	var calls []record
	var missing error
	for _, id := range ids {
		r, _, _, err := k.load(ctx, id)
		if err == nil && r.State != protocol.Ended && overdue(&r) != "" { // one that is over is its keeper's
			r, err = k.change(ctx, id, func(r record) (call.Event, error) { return call.Timeout{Timer: overdue(&r)}, nil })
		}
		switch {
		case errors.Is(err, callstore.ErrNotFound):
		case err != nil:
			k.srv.log.Warn("call not loaded", "error", err)
			missing = err
		case r.State != protocol.Ended:
			calls = append(calls, r)
		}
	}
	return calls, missing
}

// overdue returns a timer that should have run out a while ago: nobody keeps the
// call at the moment. "" is none.
func overdue(r *record) call.Timer {
	const slack = 5 * time.Second
	for _, d := range r.Due {
		if time.Since(d.At) > slack {
			return d.Timer
		}
	}
	return ""
}

// snapshots lists the calls that the session's device takes part in or is
// being rung for. It must be all of them: of those that are missing the device
// concludes that they are over.
func (k *calls) snapshots(ss *session) ([]protocol.CallSnapshot, error) {
	list := []protocol.CallSnapshot{}
	if ss.visitor {
		return list, nil
	}
	all, err := k.current(ss.account)
	if errors.Is(err, callstore.ErrUnavailable) {
		return nil, &refusal{protocol.CloseInternal, protocol.NewError(protocol.CodeUnavailable, "the records of calls are away").After(time.Second)}
	}
	for _, r := range all {
		if role, ok := r.Involves(string(ss.account), uint32(ss.device)); ok && r.GoesOnFor(role, uint32(ss.device)) {
			list = append(list, k.snapshot(&r, role))
		}
	}
	return list, nil
}

// joined rings a device that has just connected for the calls of its account
// that still ring. One that has missed something is rung again for those that it
// may have been rung for.
func (k *calls) joined(ss *session, missed bool) {
	all, _ := k.current(ss.account) // as far as they are known
	for _, r := range all {
		if role, in := r.Involves(string(ss.account), uint32(ss.device)); missed && in && role == protocol.Callee && r.Alerting() && r.GoesOnFor(role, uint32(ss.device)) {
			ctx, cancel := k.srv.request()
			k.ring(ctx, &r, uint32(ss.device), false)
			cancel()
		}
		if _, in := r.Involves(string(ss.account), uint32(ss.device)); r.Alerting() && !in && r.Callee.Account == string(ss.account) {
			ctx, cancel := k.srv.request()
			k.join(ctx, r.ID, uint32(ss.device))
			cancel()
		}
	}
}

// sync answers what there is to know of a call for the device that asks.
func (k *calls) sync(ctx context.Context, ss *session, id string) (any, error) {
	r, _, _, err := k.load(ctx, id)
	if err != nil {
		return nil, err
	}
	role, ok := r.Involves(string(ss.account), uint32(ss.device))
	if !ok {
		return nil, call.ErrStranger
	}
	snap := k.snapshot(&r, role)
	if r.State == protocol.Ended && role == protocol.Callee {
		snap.Reason = r.ReasonFor(uint32(ss.device))
	} else if !r.GoesOnFor(role, uint32(ss.device)) {
		snap.State, snap.Reason = protocol.Ended, r.ReasonFor(uint32(ss.device))
	}
	return &snap, nil
}

func (k *calls) snapshot(r *record, role protocol.Role) protocol.CallSnapshot {
	mine, theirs, peer := &r.A, &r.B, r.To
	if role == protocol.Callee {
		mine, theirs, peer = &r.B, &r.A, r.From
	}
	return protocol.CallSnapshot{
		Call: r.ID, State: r.State, Peer: peer, Role: role, Media: r.Media,
		AgeMS: time.Since(r.Created).Milliseconds(), RingMS: call.RingFor.Milliseconds(),
		SDP: theirs.SDP, Kind: theirs.Kind, N: theirs.N, Sent: mine.N,
		Candidates: theirs.Candidates, ICE: k.ice(r, role), Reason: r.Reason,
	}
}
