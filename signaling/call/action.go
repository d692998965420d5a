package call

import (
	"time"

	"switchboard/signaling/protocol"
)

// Action is something that must be done about a call, in the order given,
// after the new value counts. The set is closed.
type Action interface{ action() }

type (
	// Ring sends call.incoming to a device of the callee, and with it every
	// candidate that the caller has sent so far.
	Ring struct{ Device uint32 }
	// TellRinging sends call.ringing to the caller.
	TellRinging struct{ Waiting bool }
	// TellPrepared sends call.prepared to the caller.
	TellPrepared struct{ SDP string }
	// TellAnswered sends call.answered to the caller.
	TellAnswered struct{ SDP string }
	// TellCandidates sends call.candidates to the caller, to the device that
	// answered, or while it rings to one that could.
	TellCandidates struct {
		To     protocol.Role
		Device uint32 // of the callee
		Batch  protocol.CallCandidates
	}
	// TellDescription sends call.describe to the other side.
	TellDescription struct {
		To          protocol.Role
		Description protocol.CallDescribe
	}
	// TellState sends call.state to a side, with Servers also the ICE servers that
	// it is to use from now on.
	TellState struct {
		To      protocol.Role
		State   protocol.CallState
		Servers bool
	}
	// TellEnded sends call.ended to the caller or to a device of the callee.
	TellEnded struct {
		To     protocol.Role
		Device uint32
		Reason protocol.Reason
		Mine   bool
	}
	// StartTimer says that a timer runs, anew if it did. What runs stands in
	// [Call.Due], too, for whoever comes later.
	StartTimer struct {
		Timer Timer
		For   time.Duration
	}
	// StopTimer stops a timer, if it runs.
	StopTimer struct{ Timer Timer }
	// Conclude is the last action of the end of every call: write it into people's
	// histories, count it, let go of what it holds.
	Conclude struct{}
	// Record counts the call for operators, once both sides had the time to tell
	// their last figures. It has been written down by then.
	Record struct{}
)

func (Ring) action()            {}
func (TellRinging) action()     {}
func (TellPrepared) action()    {}
func (TellAnswered) action()    {}
func (TellCandidates) action()  {}
func (TellDescription) action() {}
func (TellState) action()       {}
func (TellEnded) action()       {}
func (StartTimer) action()      {}
func (StopTimer) action()       {}
func (Conclude) action()        {}
func (Record) action()          {}
