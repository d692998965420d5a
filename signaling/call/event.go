package call

import "switchboard/signaling/protocol"

// Event is something that happens to a call. The set is closed: [Events] lists
// one of each kind.
type Event interface{ event() }

type (
	// Join: a device of the callee has connected while the call rings.
	Join struct{ Device uint32 }
	// RingingOn: a device of the callee says that it rings.
	RingingOn struct {
		Device  uint32
		Waiting bool // it is in another call
	}
	// Prepare: a device of the callee that rings says what it will answer with.
	Prepare struct {
		Device uint32
		SDP    string
	}
	// Answer: a device of the callee answers.
	Answer struct {
		Device uint32
		SDP    string
	}
	// Reject: a device of the callee declines for the account.
	Reject struct{ Device uint32 }
	// Busy: a device of the callee cannot take the call.
	Busy struct{ Device uint32 }
	// Cancel: the caller withdraws.
	Cancel struct{}
	// Hangup: a device leaves, whatever the state. Why is "" or
	// [protocol.ReasonHangup], [protocol.ReasonICEFailed],
	// [protocol.ReasonMediaFailed].
	Hangup struct {
		By     protocol.Role
		Device uint32
		Why    protocol.Reason
	}
	// Supersede: the caller's device calls the same number anew.
	Supersede struct{}
	// Candidates: a side has found candidates.
	Candidates struct {
		By     protocol.Role
		Device uint32
		protocol.CallCandidates
	}
	// Describe: a side renegotiates or restarts.
	Describe struct {
		By     protocol.Role
		Device uint32
		protocol.CallDescribe
	}
	// Report: a side tells how its media is. Call is not read.
	Report struct {
		By     protocol.Role
		Device uint32
		protocol.CallReport
	}
	// RelayLost: the relay at a host:port is being drained, or has died.
	RelayLost struct{ Server string }
	// Timeout: a timer that an action started has run out.
	Timeout struct{ Timer Timer }
)

func (Join) event()       {}
func (RingingOn) event()  {}
func (Prepare) event()    {}
func (Answer) event()     {}
func (Reject) event()     {}
func (Busy) event()       {}
func (Cancel) event()     {}
func (Hangup) event()     {}
func (Supersede) event()  {}
func (Candidates) event() {}
func (Describe) event()   {}
func (Report) event()     {}
func (RelayLost) event()  {}
func (Timeout) event()    {}

// Events holds one event of each kind, for tests that range over all.
var Events = []Event{
	Join{}, RingingOn{}, Prepare{}, Answer{}, Reject{}, Busy{}, Cancel{}, Hangup{}, Supersede{},
	Candidates{}, Describe{}, Report{}, RelayLost{}, Timeout{},
}

// Timer names a timer of a call. Starting one that runs starts it anew.
type Timer string

const (
	TimerReach     Timer = "reach"     // nobody to ring yet
	TimerRing      Timer = "ring"      // nobody has answered yet
	TimerConnect   Timer = "connect"   // media not up yet
	TimerReconnect Timer = "reconnect" // media lost
	TimerRecord    Timer = "record"    // over; both sides may tell their last figures
)

// Timers lists every timer.
var Timers = []Timer{TimerReach, TimerRing, TimerConnect, TimerReconnect, TimerRecord}
