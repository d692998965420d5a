package client

import (
	"time"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// Event is something that the server tells. The set is closed.
type Event interface{ event() }

type (
	// Connected: a session is there, for the first time or again.
	Connected struct{ Welcome protocol.Welcome }
	// Disconnected: the connection is lost; another is tried after Retry.
	Disconnected struct {
		Err   error
		Retry time.Duration
	}
	// Incoming: somebody calls. Merged calls are answered without asking.
	Incoming struct {
		Call   *Call
		Merged bool
	}
	// Item: the mailbox has something. Call Ack once it is safely kept; until
	// then it comes again with each new process.
	Item struct {
		protocol.MailboxItem
		ack func()
	}
	// Drained: everything that had waited in the mailbox has come. Missed is since
	// when something is missing that did not fit into it, zero if nothing is.
	Drained struct{ Missed time.Time }
	// Typing: somebody writes.
	Typing struct{ From e164.Number }
	// PresenceChanged: a number that was subscribed to has come or gone.
	PresenceChanged struct{ protocol.Presence }
	// SettingsChanged: another device of the account has changed its settings,
	// which are these now.
	SettingsChanged struct{ protocol.Settings }
)

func (Connected) event()    {}
func (Disconnected) event() {}
func (Incoming) event()     {}
func (Item) event()         {}
func (Drained) event()      {}
func (Typing) event()       {}

func (PresenceChanged) event() {}
func (SettingsChanged) event() {}

// Ack says that the item is kept. It does not block and may be repeated.
func (i Item) Ack() {
	if i.ack != nil {
		i.ack()
	}
}

// CallEvent is something that happens to a call. The set is closed.
type CallEvent interface{ callEvent() }

type (
	// Ringing: a device of the callee rings, perhaps beside another call.
	Ringing struct{ Waiting bool }
	// Prepared: a device of the callee that rings will answer with this description,
	// which is to be set as the answer now. No media is sent before [Answered]. If
	// that has another description, see [Call.Renew].
	Prepared struct{ SDP string }
	// Answered: a device of the callee has answered with this description. It is
	// empty if it was missed and the callee has described anew since; then, too, see
	// [Call.Renew].
	Answered struct{ SDP string }
	// Candidates: the other side has found candidates.
	Candidates struct{ protocol.CallCandidates }
	// Description: the other side renegotiates, restarts ICE, or answers that.
	Description struct{ protocol.CallDescribe }
	// State: the server tells the state of the call, and perhaps asks for a
	// restart of ICE.
	State struct{ protocol.CallState }
	// Ended: the call is over. It is the last event.
	Ended struct{ protocol.CallEnded }
)

func (Ringing) callEvent()     {}
func (Prepared) callEvent()    {}
func (Answered) callEvent()    {}
func (Candidates) callEvent()  {}
func (Description) callEvent() {}
func (State) callEvent()       {}
func (Ended) callEvent()       {}
