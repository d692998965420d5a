package signaling

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/call"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

const (
	// liveFor is how long the record of a call outlives its last transition,
	// longer than people talk without any.
	liveFor = 24 * time.Hour
	// endedFor is how long the record of an ended call is there for those who
	// come late.
	endedFor = 2 * time.Minute
	// unwrittenFor is how long after the end it is there as long as it has not been
	// written down for operators: shorter than a repeat of that is noticed.
	unwrittenFor = 15 * time.Minute
	// maxTries bounds how often one event is applied anew because another was
	// faster. Each loss is somebody else's progress.
	maxTries = 16
)

// calls applies events to the records of calls and carries out what follows.
// Any node may do it for any call; the compare-and-set decides who was first.
type calls struct {
	// Static after newCalls.
	srv  *Server
	seed maphash.Seed
	// A call's events are applied and carried out one after the other on this
	// node, so that devices hear of them in order.
	locks [64]sync.Mutex
	// timers of the calls that this node keeps.
	timers timers
	moves  moves
	// writing is what keeps track of the records that are to be written down.
	writing writing
}

func newCalls(s *Server) *calls {
	k := &calls{srv: s, seed: maphash.MakeSeed()}
	k.timers.fire = k.timeout
	k.moves.calls = k
	k.writing.init(s)
	return k
}

// record is a call as it is stored: with the numbers, which the rules do not
// need.
type record struct {
	call.Call
	From e164.Number `json:"from"`
	To   e164.Number `json:"to"`
	// Shield is the account that blocks the caller and has been left out.
	Shield directory.Account `json:"shield,omitempty"`
	// Woken are the callee's devices that were asleep and have been woken.
	Woken []uint32 `json:"woken,omitempty"`
	// Region is the one where the caller's device is best served, "" if not known.
	Region string `json:"region,omitempty"`
	// Keeper is the incarnation of the node that changed the record last. It keeps
	// the call's timers.
	Keeper string `json:"keeper,omitempty"`
}

func callKey(id string) string { return "c." + id }

func (r *record) encode() ([]byte, time.Duration, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, 0, fmt.Errorf("encode call: %w", err)
	}
	switch {
	case r.State != protocol.Ended:
		return data, liveFor, nil
	case len(r.Due) > 0:
		// From the end on, or those who change it would have it live for ever.
		return data, max(time.Until(r.Ended.Add(unwrittenFor)), call.RecordAfter), nil
	}
	return data, endedFor, nil
}

// now is the time in the precision that records keep.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func (k *calls) load(ctx context.Context, id string) (record, []byte, uint64, error) {
	data, rev, err := k.srv.Records.Load(ctx, callKey(id))
	if err != nil {
		return record{}, nil, 0, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, nil, 0, fmt.Errorf("record of a call: %w", err)
	}
	if r.V != call.Version {
		return record{}, nil, 0, fmt.Errorf("record of a call: field %q is %d, this node knows %d", "v", r.V, call.Version)
	}
	return r, data, rev, nil
}

// change applies the event that next chooses for the record, and carries out
// what follows from it.
//
// A write whose answer does not come may have been done. Then nobody else would
// carry out what follows, so the record is read again, for a while longer than
// whoever asked waits.
func (k *calls) change(ctx context.Context, id string, next func(record) (call.Event, error)) (record, error) {
	lock := k.lock(id)
	lock.Lock()
	defer lock.Unlock()
	var doubt *attempt
	for range maxTries {
		r, old, rev, err := k.load(ctx, id)
		if err != nil && doubt != nil && errors.Is(err, callstore.ErrUnavailable) {
			if !k.srv.pause(doubtFor / maxTries) {
				return record{}, err
			}
			continue
		}
		if err != nil {
			return record{}, err
		}
		if doubt != nil && bytes.Equal(old, doubt.data) {
			k.timers.keep(id, rev, doubt.record.Due)
			k.perform(ctx, &doubt.record, doubt.actions)
			return doubt.record, nil
		}
		e, err := next(r)
		if err != nil {
			return r, err
		}
		var acts []call.Action
		if r.Call, acts, err = r.Call.Next(e, now()); err != nil {
			return r, err
		}
		data, ttl, err := r.encode()
		if err != nil {
			return r, err
		}
		if bytes.Equal(data, old) {
			return r, nil
		}
		if own := k.srv.Nodes.Incarnation(); r.Keeper != own {
			r.Keeper = own
			if data, ttl, err = r.encode(); err != nil {
				return r, err
			}
		}
		switch rev, err := k.srv.Records.Save(ctx, callKey(id), data, rev, ttl); {
		case errors.Is(err, callstore.ErrUnavailable):
			doubt = &attempt{r, data, acts}
			var cancel context.CancelFunc
			ctx, cancel = k.srv.request()
			defer cancel()
			continue
		case errors.Is(err, callstore.ErrConflict):
			continue
		case err != nil:
			return r, err
		default:
			k.timers.keep(id, rev, r.Due)
		}
		k.perform(ctx, &r, acts)
		return r, nil
	}
	return record{}, fmt.Errorf("call changes too fast: %w", callstore.ErrConflict)
}

func (k *calls) lock(id string) *sync.Mutex {
	return &k.locks[maphash.String(k.seed, id)%uint64(len(k.locks))]
}

// attempt is a write of which it is not known whether it was done.
type attempt struct {
	record  record
	data    []byte
	actions []call.Action
}

// doubtFor is about how long such a write is looked for while storage is away.
const doubtFor = 8 * time.Second

// handle applies what a device says about a call.
func (k *calls) handle(ctx context.Context, ss *session, body protocol.Body) (any, error) {
	id := callOf(body)
	r, err := k.change(ctx, id, func(r record) (call.Event, error) {
		role, ok := r.Involves(string(ss.account), uint32(ss.device))
		if !ok {
			return nil, call.ErrStranger
		}
		return eventOf(body, role, uint32(ss.device))
	})
	if err != nil {
		if errors.Is(err, callstore.ErrNotFound) && leaves(body) {
			// The record is gone, so the call is over, which is what was asked.
			return &protocol.CallReply{Call: id, State: protocol.Ended}, nil
		}
		return nil, err
	}
	switch body.(type) {
	case *protocol.CallAnswer:
		k.srv.met.meet(ss.account, r.From)
	case *protocol.CallReport:
		k.moves.consider(&r)
	case *protocol.CallPrepare:
		return &protocol.CallPreparing{Call: id, State: r.State, Prepared: r.Prepared == uint32(ss.device)}, nil
	}
	if spec, _ := protocol.Lookup(body.Type()); spec.Reply == nil {
		return nil, nil
	}
	return &protocol.CallReply{Call: id, State: r.State}, nil
}

func leaves(body protocol.Body) bool {
	t := body.Type()
	return t == protocol.TypeCallHangup || t == protocol.TypeCallCancel
}

func callOf(body protocol.Body) string {
	switch m := body.(type) {
	case *protocol.CallRinging:
		return m.Call
	case *protocol.CallPrepare:
		return m.Call
	case *protocol.CallAnswer:
		return m.Call
	case *protocol.CallReject:
		return m.Call
	case *protocol.CallBusy:
		return m.Call
	case *protocol.CallCancel:
		return m.Call
	case *protocol.CallHangup:
		return m.Call
	case *protocol.CallCandidates:
		return m.Call
	case *protocol.CallDescribe:
		return m.Call
	case *protocol.CallReport:
		return m.Call
	}
	return ""
}

// eventOf is what a message means when a device of that side sends it.
func eventOf(body protocol.Body, role protocol.Role, device uint32) (call.Event, error) {
	switch m := body.(type) {
	case *protocol.CallHangup:
		return call.Hangup{By: role, Device: device, Why: m.Why}, nil
	case *protocol.CallCandidates:
		return call.Candidates{By: role, Device: device, CallCandidates: *m}, nil
	case *protocol.CallDescribe:
		return call.Describe{By: role, Device: device, CallDescribe: *m}, nil
	case *protocol.CallReport:
		return call.Report{By: role, Device: device, CallReport: *m}, nil
	case *protocol.CallCancel:
		if role == protocol.Caller {
			return call.Cancel{}, nil
		}
	}
	if role != protocol.Callee {
		return nil, call.ErrStranger
	}
	switch m := body.(type) {
	case *protocol.CallRinging:
		return call.RingingOn{Device: device, Waiting: m.Waiting}, nil
	case *protocol.CallPrepare:
		return call.Prepare{Device: device, SDP: m.SDP}, nil
	case *protocol.CallAnswer:
		return call.Answer{Device: device, SDP: m.SDP}, nil
	case *protocol.CallReject:
		return call.Reject{Device: device}, nil
	case *protocol.CallBusy:
		return call.Busy{Device: device}, nil
	}
	return nil, call.ErrStranger
}

// timeout applies a timer that has run out. If storage is away it tries again.
func (k *calls) timeout(id string, t call.Timer) {
	k.srv.goroutines.Go(func() {
		if t == call.TimerRecord && !k.writeDown(id) {
			return
		}
		ctx, cancel := k.srv.request()
		defer cancel()
		_, err := k.change(ctx, id, func(record) (call.Event, error) { return call.Timeout{Timer: t}, nil })
		if err != nil && !errors.Is(err, callstore.ErrNotFound) {
			k.srv.log.Warn("call timer not applied", "timer", t, "error", err)
			k.timers.again(id, t, time.Second)
		}
	})
}

func (k *calls) stopTimers() { k.timers.stopAll() }

// perform carries out actions, in order. Whoever cannot be told finds the
// state in the record.
func (k *calls) perform(ctx context.Context, r *record, acts []call.Action) {
	for _, a := range acts {
		switch a := a.(type) {
		case call.Ring:
			k.ring(ctx, r, a.Device, false)
		case call.TellRinging:
			k.tellCaller(ctx, r, &protocol.CallRinging{Call: r.ID, Waiting: a.Waiting})
		case call.TellPrepared:
			k.tellCaller(ctx, r, &protocol.CallPrepared{Call: r.ID, SDP: a.SDP})
		case call.TellAnswered:
			k.quiet(r)
			k.srv.metrics.answerSeconds.Observe(r.Answered.Sub(r.Created).Seconds())
			k.tellCaller(ctx, r, &protocol.CallAnswered{Call: r.ID, SDP: a.SDP})
		case call.TellCandidates:
			k.tellSide(ctx, r, a.To, a.Device, &a.Batch)
		case call.TellDescription:
			k.tellSide(ctx, r, a.To, r.Callee.Device, &a.Description)
		case call.TellState:
			if a.Servers {
				ice := k.ice(r, a.To)
				a.State.ICE = &ice
			}
			k.tellSide(ctx, r, a.To, r.Callee.Device, &a.State)
		case call.TellEnded:
			k.tellSide(ctx, r, a.To, a.Device, &protocol.CallEnded{
				Call: r.ID, Reason: a.Reason, Mine: a.Mine, DurationMS: r.Duration().Milliseconds(),
			})
		case call.Conclude:
			if r.Answered.IsZero() {
				k.quiet(r)
			}
			done := *r
			k.srv.goroutines.Go(func() { k.conclude(&done) })
		case call.Record:
			k.measured(r)
		}
	}
}

// quiet has the devices that are not connected stop ringing.
func (k *calls) quiet(r *record) {
	if k.srv.Pushes != nil && r.Callee.Account != "" {
		over := *r
		k.srv.goroutines.Go(func() { k.stopRinging(&over) })
	}
}

func (k *calls) tellCaller(ctx context.Context, r *record, b protocol.Body) {
	k.tellSide(ctx, r, protocol.Caller, 0, b)
}

// tellSide sends to the caller's device, or to one of the callee's.
func (k *calls) tellSide(ctx context.Context, r *record, to protocol.Role, device uint32, b protocol.Body) {
	p := call.Party{Account: r.Callee.Account, Device: device}
	if to == protocol.Caller {
		p = r.Caller
	}
	k.srv.tell(ctx, directory.Account(p.Account), directory.Device(p.Device), b)
}

// ring sends the invite to a device of the callee, with the candidates that
// there are so far.
func (k *calls) ring(ctx context.Context, r *record, device uint32, merged bool) {
	if r.Callee.Account == "" {
		return
	}
	a := directory.Account(r.Callee.Account)
	d := directory.Device(device)
	k.srv.tell(ctx, a, d, &protocol.CallIncoming{
		Call: r.ID, From: r.From, Media: r.Media, SDP: r.A.SDP,
		AgeMS: time.Since(r.Created).Milliseconds(), RingMS: call.RingFor.Milliseconds(),
		ICE: k.ice(r, protocol.Callee), Merged: merged,
	})
	for i := range r.A.Candidates {
		k.srv.tell(ctx, a, d, &r.A.Candidates[i])
	}
}
