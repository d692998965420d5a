package signaling

import (
	"errors"
	"time"

	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

// retell tells a device what it may have missed of its calls. What it knows it
// is told again, which it must bear with anyway.
func (k *calls) retell(ss *session) {
	for _, id := range ss.inCalls() {
		r, err := k.loadSurely(id)
		switch {
		case errors.Is(err, callstore.ErrNotFound):
			ss.tell(&protocol.CallEnded{Call: id, Reason: protocol.ReasonConnectionLost})
		case err != nil:
			k.srv.log.Warn("call not loaded", "error", err)
		default:
			k.retellOne(ss, &r)
		}
	}
}

// loadSurely loads a call's record when NATS has just been away: it tries again
// while it has no leader, and does not believe one that has only just become it
// that there is no such record.
func (k *calls) loadSurely(id string) (r record, err error) {
	for range retellTries {
		ctx, cancel := k.srv.request()
		r, _, _, err = k.load(ctx, id)
		cancel()
		if err == nil || !k.srv.pause(retellAgain) {
			break
		}
	}
	return r, err
}

const (
	// retellTries is how often, retellAgain apart, a record is looked for.
	retellTries = 3
	retellAgain = time.Second
)

func (k *calls) retellOne(ss *session, r *record) {
	role, ok := r.Involves(string(ss.account), uint32(ss.device))
	if !ok {
		return // merged into another
	}
	if !r.GoesOnFor(role, uint32(ss.device)) {
		ss.tell(lastWord(r, role, uint32(ss.device)))
		return
	}
	theirs := &r.A
	if role == protocol.Caller {
		theirs = &r.B
		switch {
		case r.State == protocol.Ringing:
			ss.tell(&protocol.CallRinging{Call: r.ID})
		case theirs.N == 0 && theirs.Kind == "answer":
			ss.tell(&protocol.CallAnswered{Call: r.ID, SDP: theirs.SDP})
		}
		if r.Alerting() && theirs.Kind == "pranswer" {
			ss.tell(&protocol.CallPrepared{Call: r.ID, SDP: theirs.SDP})
		}
	}
	if theirs.N > 0 {
		ss.tell(&protocol.CallDescribe{Call: r.ID, N: theirs.N, Kind: theirs.Kind, SDP: theirs.SDP})
	}
	for i := range theirs.Candidates {
		ss.tell(&theirs.Candidates[i])
	}
	if !r.Alerting() {
		ss.tell(&protocol.CallState{Call: r.ID, State: r.State})
	}
}

// lastWord is what a side is told of a call that is over for it.
func lastWord(r *record, role protocol.Role, device uint32) *protocol.CallEnded {
	m := &protocol.CallEnded{Call: r.ID, Reason: r.Reason, DurationMS: r.Duration().Milliseconds()}
	if role == protocol.Callee {
		m.Reason = r.ReasonFor(device)
	}
	m.Mine = r.EndedBy == role || m.Reason == protocol.ReasonAnsweredElsewhere
	return m
}
