package call

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"switchboard/signaling/protocol"
)

// Next returns the call after e, at the time now, and what must be done about
// it. It never changes c. An event that has no effect, such as a repeat,
// returns c and no action. On error c is returned as it was: a [*StateError],
// [ErrStranger] or [ErrTooMany].
func (c Call) Next(e Event, now time.Time) (Call, []Action, error) {
	n := c
	n.Legs, n.Due = slices.Clone(c.Legs), slices.Clone(c.Due)
	acts, err := n.apply(e, now)
	if err != nil {
		return c, nil, err
	}
	return n, acts, nil
}

func (c *Call) apply(e Event, now time.Time) ([]Action, error) {
	if err := c.admit(e); err != nil {
		return nil, err
	}
	if c.State == protocol.Ended {
		return c.applyEnded(e, now)
	}
	switch e := e.(type) {
	case Join:
		return c.join(e)
	case RingingOn:
		return c.ringingOn(e, now)
	case Prepare:
		return c.prepare(e)
	case Answer:
		return c.answer(e, now)
	case Reject:
		return c.reject(e.Device, now)
	case Busy:
		return c.busy(e, now)
	case Cancel:
		if !c.Alerting() {
			return nil, c.wrongState()
		}
		return c.end(protocol.ReasonCanceled, protocol.Caller, now), nil
	case Hangup:
		return c.hangup(e, now)
	case Supersede:
		return c.end(protocol.ReasonReplaced, protocol.Caller, now), nil
	case Candidates:
		return c.candidates(e)
	case Describe:
		return c.describe(e)
	case Report:
		return c.report(e, now)
	case RelayLost:
		return c.relayLost(e, now), nil
	case Timeout:
		return c.timeout(e.Timer, now)
	}
	panic(fmt.Sprintf("call: event %T is not in the set", e))
}

// admit refuses events of devices that are not in the call, and those of
// devices for which it is over although it goes on.
func (c *Call) admit(e Event) error {
	role, device := protocol.Callee, uint32(0)
	switch e := e.(type) {
	case RingingOn:
		device = e.Device
	case Prepare:
		device = e.Device
	case Answer:
		device = e.Device
	case Reject:
		device = e.Device
	case Busy:
		device = e.Device
	case Hangup:
		role, device = e.By, e.Device
	case Candidates:
		role, device = e.By, e.Device
	case Describe:
		role, device = e.By, e.Device
	case Report:
		role, device = e.By, e.Device
	default:
		return nil
	}
	if role == protocol.Caller {
		if device != c.Caller.Device {
			return ErrStranger
		}
		return nil
	}
	i := c.leg(device)
	switch {
	case i < 0:
		return ErrStranger
	case c.State == protocol.Ended || c.Legs[i].in():
		return nil
	case c.Legs[i].State == LegBusy:
		return overFor(e, protocol.ReasonBusy)
	}
	return overFor(e, c.ReasonFor(device))
}

// overFor refuses what a device asks of a call that is over for it, but for
// what only says so once more.
func overFor(e Event, why protocol.Reason) error {
	switch e.(type) {
	case Hangup:
		return nil
	case Busy:
		if why == protocol.ReasonBusy {
			return nil
		}
	}
	return &StateError{protocol.Ended, why}
}

// applyEnded: what a device may still ask of a call that is over is what it
// may not have heard of yet.
func (c *Call) applyEnded(e Event, now time.Time) ([]Action, error) {
	switch e := e.(type) {
	case Hangup, Cancel, Supersede, RelayLost:
		return nil, nil
	case Report:
		c.noteFigures(e)
		return nil, nil
	case Timeout:
		if e.Timer == TimerRecord && c.expired(TimerRecord, now) {
			c.drop(TimerRecord)
			return []Action{Record{}}, nil
		}
		return nil, nil
	case Answer:
		return nil, &StateError{c.State, c.ReasonFor(e.Device)}
	case Reject:
		return nil, &StateError{c.State, c.ReasonFor(e.Device)}
	}
	return nil, &StateError{c.State, c.Reason}
}

func (c *Call) wrongState() error { return &StateError{State: c.State} }

func (c *Call) join(e Join) ([]Action, error) {
	if !c.Alerting() {
		return nil, c.wrongState()
	}
	if c.leg(e.Device) >= 0 || len(c.Legs) == MaxLegs {
		return nil, nil
	}
	c.Legs = append(c.Legs, Leg{e.Device, LegInvited})
	return append([]Action{Ring(e)}, c.stop(TimerReach)...), nil
}

func (c *Call) ringingOn(e RingingOn, now time.Time) ([]Action, error) {
	if !c.Alerting() {
		return nil, c.wrongState()
	}
	i := c.leg(e.Device)
	if c.Legs[i].State != LegInvited {
		return nil, nil
	}
	c.Legs[i].State = LegRinging
	switch {
	case c.State != protocol.Ringing:
		c.State, c.Rung, c.Waiting = protocol.Ringing, now, e.Waiting
	case c.Waiting && !e.Waiting:
		c.Waiting = false // one that is in no other call rings, too
	default:
		return nil, nil
	}
	return []Action{TellRinging{c.Waiting}}, nil
}

// prepare keeps the first pre-answer. A second would need a second peer
// connection at the caller, to whom it says nothing yet.
func (c *Call) prepare(e Prepare) ([]Action, error) {
	if !c.Alerting() {
		return nil, c.wrongState()
	}
	if c.Prepared != 0 {
		return nil, nil
	}
	c.Prepared = e.Device
	c.B = Side{Kind: "pranswer", Hide: c.B.Hide}
	c.B.SDP = c.describeAs(&c.B, e.SDP)
	return []Action{TellPrepared{c.B.SDP}}, nil
}

func (c *Call) answer(e Answer, now time.Time) ([]Action, error) {
	if !c.Alerting() {
		if c.Callee.Device == e.Device && (c.B.N > 0 || c.B.Same(e.SDP)) {
			return nil, nil // the answer was repeated
		}
		return nil, c.wrongState()
	}
	c.State, c.Answered = protocol.Connecting, now
	c.Callee.Device = e.Device
	if e.Device == c.Prepared && c.B.Same(e.SDP) {
		c.B.Kind = "answer"
	} else {
		c.B = Side{Kind: "answer", Hide: c.B.Hide}
		c.B.SDP = c.describeAs(&c.B, e.SDP)
	}
	acts := append(c.stop(TimerRing), c.start(TimerConnect, ConnectFor, now), TellAnswered{c.B.SDP})
	for _, b := range c.release(&c.A) {
		acts = append(acts, TellCandidates{protocol.Callee, e.Device, b})
	}
	for _, b := range c.release(&c.B) {
		acts = append(acts, TellCandidates{protocol.Caller, 0, b})
	}
	for i, l := range c.Legs {
		switch {
		case l.Device == e.Device:
			c.Legs[i].State = LegWinner
		case l.State != LegOut:
			c.Legs[i].State = LegOut
			acts = append(acts, TellEnded{protocol.Callee, l.Device, protocol.ReasonAnsweredElsewhere, true})
		}
	}
	return acts, nil
}

func (c *Call) reject(device uint32, now time.Time) ([]Action, error) {
	if !c.Alerting() {
		return nil, c.wrongState()
	}
	c.Legs[c.leg(device)].State = LegWinner
	return c.end(protocol.ReasonDeclined, protocol.Callee, now), nil
}

func (c *Call) busy(e Busy, now time.Time) ([]Action, error) {
	i := c.leg(e.Device)
	if c.Legs[i].State == LegBusy {
		return nil, nil
	}
	if !c.Alerting() {
		return nil, c.wrongState()
	}
	c.Legs[i].State = LegBusy
	for _, l := range c.Legs {
		if l.State != LegBusy {
			return nil, nil
		}
	}
	return c.end(protocol.ReasonBusy, protocol.Callee, now), nil
}

func (c *Call) hangup(e Hangup, now time.Time) ([]Action, error) {
	switch {
	case e.By == protocol.Callee && !c.Legs[c.leg(e.Device)].in():
		return nil, nil // it is over for that device
	case c.Alerting() && e.By == protocol.Caller:
		return c.end(protocol.ReasonCanceled, e.By, now), nil
	case c.Alerting():
		return c.reject(e.Device, now)
	}
	why := e.Why
	if why == "" {
		why = protocol.ReasonHangup
	}
	return c.end(why, e.By, now), nil
}

// end ends the call: nobody who was told of it is left out, and nobody is told
// twice.
func (c *Call) end(why protocol.Reason, by protocol.Role, now time.Time) []Action {
	acts := c.stop(Timers...)
	c.State, c.Reason, c.EndedBy, c.Ended = protocol.Ended, why, by, now
	acts = append(acts, TellEnded{protocol.Caller, c.Caller.Device, why, by == protocol.Caller})
	for i, l := range c.Legs {
		if l.State == LegOut {
			continue
		}
		if l.State != LegWinner {
			c.Legs[i].State = LegOut
		}
		acts = append(acts, TellEnded{protocol.Callee, l.Device, c.ReasonFor(l.Device), by == protocol.Callee})
	}
	return append(acts, c.start(TimerRecord, RecordAfter, now), Conclude{})
}

func (c *Call) candidates(e Candidates) ([]Action, error) {
	if c.Alerting() && e.By == protocol.Callee && e.Device != c.Prepared {
		return nil, c.wrongState()
	}
	s := c.side(e.By)
	batch := e.CallCandidates
	if !strings.Contains(s.SDP, "a=ice-ufrag:"+batch.Gen) {
		return nil, nil // of a generation that is over, or not this side's
	}
	if batch.Gen != s.Gen {
		s.begin(batch.Gen)
	}
	if batch.N <= s.CandN {
		return nil, nil
	}
	if s.Count+len(batch.Candidates) > protocol.MaxCandidates {
		return nil, ErrTooMany
	}
	before := s.known()
	out := c.pass(s, batch.Candidates, batch.End)
	s.CandN, s.Count = batch.N, s.Count+s.known()-before
	var acts []Action
	for _, b := range out {
		if !c.Alerting() || e.By == protocol.Callee {
			acts = append(acts, TellCandidates{other(e.By), c.Callee.Device, b})
			continue
		}
		for _, l := range c.Legs {
			if l.in() {
				acts = append(acts, TellCandidates{protocol.Callee, l.Device, b})
			}
		}
	}
	return acts, nil
}

// begin begins an ICE generation.
func (s *Side) begin(gen string) {
	s.Gen, s.CandN, s.Count, s.Candidates, s.Held, s.HeldEnd = gen, 0, 0, nil, nil, false
}

// known counts the candidates that the other side has or will have.
func (s *Side) known() int {
	n := len(s.Held)
	for _, b := range s.Candidates {
		n += len(b.Candidates)
	}
	return n
}

func (c *Call) describe(e Describe) ([]Action, error) {
	if c.Alerting() {
		return nil, c.wrongState()
	}
	s := c.side(e.By)
	d := e.CallDescribe
	if d.N <= s.N {
		return nil, nil
	}
	s.N, s.Kind = d.N, d.Kind
	if d.SDP != "" {
		d.SDP = c.describeAs(s, d.SDP)
		s.SDP = d.SDP
	}
	return []Action{TellDescription{other(e.By), d}}, nil
}

func (c *Call) report(e Report, now time.Time) ([]Action, error) {
	if c.Alerting() {
		return nil, c.wrongState()
	}
	c.noteFigures(e)
	s := c.side(e.By)
	if s.Media == e.Media && e.Path == nil {
		return nil, nil
	}
	s.Media = e.Media
	if e.Path != nil {
		if s.Path == nil || s.Path.Server != e.Path.Server {
			s.PathAt = now
		}
		s.Path = e.Path
	}
	up := c.A.Media == protocol.MediaConnected && c.B.Media == protocol.MediaConnected
	switch {
	case c.State == protocol.Connecting && up:
		c.Connected = now
		return c.enter(protocol.Active, c.stop(TimerConnect)...), nil
	case c.State == protocol.Connecting && e.Media == protocol.MediaFailed && !c.Restarted:
		return c.restartRelayed(now), nil
	case c.State == protocol.Active && !up:
		return c.enter(protocol.Reconnecting, c.start(TimerReconnect, ReconnectFor, now)), nil
	case c.State == protocol.Reconnecting && up:
		return c.enter(protocol.Active, c.stop(TimerReconnect)...), nil
	case c.State == protocol.Reconnecting && c.lostOnBoth() && e.Media == protocol.MediaDisconnected:
		return []Action{c.start(TimerReconnect, ReconnectBothFor, now)}, nil
	}
	return nil, nil
}

func (c *Call) lostOnBoth() bool {
	return c.A.Media != protocol.MediaConnected && c.B.Media != protocol.MediaConnected
}

// noteFigures keeps what a report says of the media, which is for operators.
func (c *Call) noteFigures(e Report) {
	if e.By == protocol.Callee && e.Device != c.Callee.Device {
		return
	}
	s := c.side(e.By)
	if q := e.Quality; q != nil && (s.Quality == nil || q.Received >= s.Quality.Received) {
		s.Quality = q
	}
	if s.FirstMediaMS == nil {
		s.FirstMediaMS = e.FirstMediaMS
	}
}

// relayLost gives both sides other ICE servers, and then asks the caller to restart
// ICE, if the relay carries the call. The server is forgotten, so that a repeat has
// no effect.
func (c *Call) relayLost(e RelayLost, now time.Time) []Action {
	if !c.Talking() {
		return nil
	}
	lost := false
	for _, s := range []*Side{&c.A, &c.B} {
		if s.Path != nil && s.Path.Server == e.Server && e.Server != "" {
			path := *s.Path
			path.Server = ""
			s.Path, lost = &path, true
		}
	}
	if !lost {
		return nil
	}
	c.Moves, c.MovedAt = c.Moves+1, now
	st := protocol.CallState{Call: c.ID, State: c.State}
	ask := st
	ask.Restart = true
	return []Action{
		TellState{To: protocol.Callee, State: st, Servers: true},
		TellState{To: protocol.Caller, State: ask, Servers: true},
	}
}

// enter changes to a state of a call that has been answered, and tells both.
func (c *Call) enter(s protocol.State, timer ...Action) []Action {
	c.State = s
	st := protocol.CallState{Call: c.ID, State: s}
	return append(timer, TellState{To: protocol.Caller, State: st}, TellState{To: protocol.Callee, State: st})
}

// restartRelayed asks, once, for ICE to be restarted with relays alone. The
// caller makes the offer, so that only one side does.
func (c *Call) restartRelayed(now time.Time) []Action {
	c.Restarted = true
	ask := protocol.CallState{Call: c.ID, State: c.State, Restart: true, RelayOnly: true}
	follow := protocol.CallState{Call: c.ID, State: c.State, RelayOnly: true}
	return []Action{
		c.start(TimerConnect, ConnectFor, now),
		TellState{To: protocol.Caller, State: ask}, TellState{To: protocol.Callee, State: follow},
	}
}

// timeout acts on a timer that has run out. Which timers run follows from the
// state, so that the timer alone says what to do. If several have run out, as while
// nobody kept the call, the one that was due first counts.
func (c *Call) timeout(t Timer, now time.Time) ([]Action, error) {
	if !c.expired(t, now) {
		return nil, nil
	}
	t = slices.MinFunc(c.Due, func(a, b Due) int { return a.At.Compare(b.At) }).Timer
	switch {
	case t == TimerReach:
		return c.end(protocol.ReasonUnreachable, "", now), nil
	case t == TimerRing:
		return c.end(protocol.ReasonNoAnswer, "", now), nil
	case t == TimerConnect && !c.Restarted:
		return c.restartRelayed(now), nil
	case t == TimerConnect:
		return c.end(protocol.ReasonICEFailed, "", now), nil
	case t == TimerReconnect:
		return c.end(protocol.ReasonConnectionLost, "", now), nil
	}
	return nil, nil
}
