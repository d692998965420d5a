package call

import (
	"slices"
	"time"

	"switchboard/signaling/protocol"
)

// How long a call may stay in a state. Each runs from the moment the server
// took the event, never by a peer's clock.
const (
	// ReachFor is how long a call without any device of the callee waits for
	// one to connect.
	ReachFor = 5 * time.Second
	// WakeFor is how long it waits if sleeping devices are being woken.
	WakeFor = 25 * time.Second
	// RingFor is how long devices ring.
	RingFor = 45 * time.Second
	// ConnectFor is how long media may take after an answer. Then comes one
	// restart with relays alone, with the same time again.
	ConnectFor = 20 * time.Second
	// ReconnectFor is how long media may be lost on one side.
	ReconnectFor = 60 * time.Second
	// ReconnectBothFor is how long, once it is lost on both.
	ReconnectBothFor = 90 * time.Second
	// RecordAfter is how long after its end a call is written down for operators:
	// both sides tell their last figures meanwhile. Whoever fires [TimerRecord] writes
	// it first.
	RecordAfter = 5 * time.Second
)

// MaxLegs is the most devices of a callee that one call rings.
const MaxLegs = 16

// Call is the record of a call. Its fields are read by whoever carries out
// actions; only [New] and [Call.Next] set them.
type Call struct {
	V      int              `json:"v"` // of the record, 1
	ID     string           `json:"id"`
	State  protocol.State   `json:"state"`
	Caller Party            `json:"caller"`
	Callee Party            `json:"callee"` // Device is 0 until one has answered
	Media  []protocol.Media `json:"media"`
	// Legs are the callee's devices that were told of the call.
	Legs []Leg `json:"legs,omitempty"`
	// Waiting: all devices that ring do so beside another call.
	Waiting bool `json:"waiting,omitempty"`
	// Prepared is the device whose pre-answer the caller has, 0 if none. It stays.
	Prepared uint32 `json:"prepared,omitempty"`
	// A is the caller's side, B that of the device that answered, or before of
	// the one that is prepared.
	A Side `json:"a"`
	B Side `json:"b"`
	// Due are the timers that run: none twice, and none but [TimerRecord] once the
	// call has ended.
	Due []Due `json:"due,omitempty"`
	// Restarted: the one restart with relays alone has been asked for.
	Restarted bool `json:"restarted,omitempty"`
	// Moves is how often media was to leave a relay that was drained or died.
	Moves   int             `json:"moves,omitempty"`
	MovedAt time.Time       `json:"moved_at,omitzero"` // the last time
	Reason  protocol.Reason `json:"reason,omitempty"`  // once ended
	EndedBy protocol.Role   `json:"ended_by,omitempty"`

	// When things happened; zero if they did not. Created <= the others <= Ended.
	Created   time.Time `json:"created"`
	Rung      time.Time `json:"rung,omitzero"`
	Answered  time.Time `json:"answered,omitzero"`
	Connected time.Time `json:"connected,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
}

// Version is the version of the record that this code writes.
const Version = 1

// Party is an account and its device in the call.
type Party struct {
	Account string `json:"account"`
	Device  uint32 `json:"device,omitempty"`
}

// Leg is one device of the callee.
type Leg struct {
	Device uint32   `json:"device"`
	State  LegState `json:"state"`
}

// LegState is what a device of the callee does.
type LegState string

const (
	LegInvited LegState = "invited" // told; has not said that it rings
	LegRinging LegState = "ringing"
	LegBusy    LegState = "busy"   // out of the call, the others go on
	LegWinner  LegState = "winner" // has answered
	LegOut     LegState = "out"    // has been told that the call is over for it
)

// in reports whether the call goes on for the device.
func (l Leg) in() bool { return l.State != LegBusy && l.State != LegOut }

// Side is what one side of the call has said. Invariant: Count is the number
// of candidates in Candidates and Held, at most [protocol.MaxCandidates].
type Side struct {
	// Media is the last report, "" before the first.
	Media protocol.MediaState `json:"media,omitempty"`
	Path  *protocol.Path      `json:"path,omitempty"`
	// PathAt is when the side first told of the path's relay, or that it has none.
	PathAt time.Time `json:"path_at,omitzero"`
	// Quality is the last that was reported; FirstMediaMS the first.
	Quality      *protocol.Quality `json:"quality,omitempty"`
	FirstMediaMS *int64            `json:"first_media_ms,omitempty"`
	// N, Kind and SDP are the side's newest description; N is 0 for the
	// invite's offer and the answer to it. Kind is "pranswer" for the answer of a
	// device that is prepared. It stands here as the other side may have it.
	N    int    `json:"n,omitempty"`
	Kind string `json:"kind,omitempty"`
	SDP  string `json:"sdp,omitempty"`
	// Hide keeps the side's addresses from the other. Static.
	Hide Hide `json:"hide,omitempty"`
	// Gen is the ICE generation of what follows; CandN the highest number that the
	// side has sent in it.
	Gen   string `json:"gen,omitempty"`
	CandN int    `json:"cand_n,omitempty"`
	Count int    `json:"count,omitempty"`
	// Candidates are those that the other side may have, numbered for it from 1.
	Candidates []protocol.CallCandidates `json:"candidates,omitempty"`
	// Held are those that it may have once the call is answered. HeldEnd: they
	// are the last of their generation.
	Held    []protocol.Candidate `json:"held,omitempty"`
	HeldEnd bool                 `json:"held_end,omitempty"`
}

// Invite is what a call begins with.
type Invite struct {
	ID      string
	Caller  Party
	Callee  string   // account
	Devices []uint32 // of the callee, that can be rung now
	Woken   bool     // others of the callee are about to connect
	Media   []protocol.Media
	SDP     string
	// HideCaller and HideCallee keep the addresses of one side from the other.
	HideCaller, HideCallee Hide
}

// New makes a call in state trying and rings the devices. Without devices it
// waits [ReachFor] for one to join, [WakeFor] if some have been woken.
func New(in Invite, now time.Time) (Call, []Action) {
	c := Call{
		V: Version, ID: in.ID, State: protocol.Trying,
		Caller: in.Caller, Callee: Party{Account: in.Callee},
		Media: slices.Clone(in.Media), Created: now,
		A: Side{Kind: "offer", Hide: in.HideCaller},
		B: Side{Hide: in.HideCallee},
	}
	c.A.SDP = c.describeAs(&c.A, in.SDP)
	acts := []Action{c.start(TimerRing, RingFor, now)}
	for _, d := range in.Devices {
		if len(c.Legs) < MaxLegs && c.leg(d) < 0 {
			c.Legs = append(c.Legs, Leg{d, LegInvited})
			acts = append(acts, Ring{d})
		}
	}
	switch {
	case len(c.Legs) > 0:
	case in.Woken:
		acts = append(acts, c.start(TimerReach, WakeFor, now))
	default:
		acts = append(acts, c.start(TimerReach, ReachFor, now))
	}
	return c, acts
}

// Alerting reports whether the call waits for an answer.
func (c Call) Alerting() bool {
	return c.State == protocol.Trying || c.State == protocol.Ringing
}

// Talking reports whether the call has been answered and is not over.
func (c Call) Talking() bool {
	return c.State == protocol.Connecting || c.State == protocol.Active || c.State == protocol.Reconnecting
}

// Duration is from answer to end, 0 unless both have been.
func (c Call) Duration() time.Duration {
	if c.Answered.IsZero() || c.Ended.IsZero() {
		return 0
	}
	return c.Ended.Sub(c.Answered)
}

// Involves reports whether the device is in the call or could still answer it,
// and as which side.
func (c Call) Involves(account string, device uint32) (protocol.Role, bool) {
	if c.Caller == (Party{account, device}) {
		return protocol.Caller, true
	}
	if c.Callee.Account == account {
		if i := c.leg(device); i >= 0 {
			return protocol.Callee, true
		}
	}
	return "", false
}

// GoesOnFor reports whether the call is not over for a device that it
// [Call.Involves] as role.
func (c Call) GoesOnFor(role protocol.Role, device uint32) bool {
	if c.State == protocol.Ended || role == protocol.Caller {
		return c.State != protocol.Ended
	}
	i := c.leg(device)
	return i >= 0 && c.Legs[i].in()
}

// ReasonFor is why the call ended for one device of the callee, which is not
// always why it ended.
func (c Call) ReasonFor(device uint32) protocol.Reason {
	switch {
	case c.Callee.Device != 0 && device != c.Callee.Device:
		return protocol.ReasonAnsweredElsewhere
	case c.Reason == protocol.ReasonDeclined && device != c.decliner():
		return protocol.ReasonDeclinedElsewhere
	}
	return c.Reason
}

// decliner is the device that declined. It is the one leg that an end by
// decline leaves as the winner.
func (c Call) decliner() uint32 {
	for _, l := range c.Legs {
		if l.State == LegWinner {
			return l.Device
		}
	}
	return 0
}

func (c Call) leg(device uint32) int {
	return slices.IndexFunc(c.Legs, func(l Leg) bool { return l.Device == device })
}

func (c *Call) side(r protocol.Role) *Side {
	if r == protocol.Caller {
		return &c.A
	}
	return &c.B
}

func other(r protocol.Role) protocol.Role {
	if r == protocol.Caller {
		return protocol.Callee
	}
	return protocol.Caller
}
