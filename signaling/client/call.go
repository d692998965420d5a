package client

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// Call is a call that this device makes or is being rung for. Its methods may
// be called concurrently.
type Call struct {
	// Static.
	ID       string
	Role     protocol.Role
	Media    []protocol.Media
	client   *Client
	received time.Time

	queue callQueue

	// Guarded by the client's mu.
	peer      e164.Number
	offer     string // the caller's
	ice       protocol.ICE
	ring      time.Duration // how much longer it rings, from received
	rang      bool          // that it rings has been told
	waiting   bool          // and that all that ring do so beside another call
	prepared  bool          // the pre-answer has been told
	answered  bool          // the answer has been told
	described int           // the newest N of the other side that has been told
	gen       string        // and the newest candidates
	candN     int
	sentDesc  int // the newest N of this side
	sentGen   string
	sentN     int
	over      bool
	settled   bool // the invite has been answered or given up
	merged    bool // it has been told as the surviving call of a glare
}

// NewID returns a random id for a call or a text.
func NewID() string { return rand.Text() }

// Peer is the other side's number; of a call that this device makes, once it
// has been invited.
func (k *Call) Peer() e164.Number {
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	return k.peer
}

// Offer is the caller's description, for the callee.
func (k *Call) Offer() string {
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	return k.offer
}

// ICE is the list of servers for the call, for the callee. The caller asks for
// it with [Client.ICE].
func (k *Call) ICE() protocol.ICE {
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	return k.ice
}

// RingsUntil is when the callee stops ringing by itself.
func (k *Call) RingsUntil() time.Time { return k.received.Add(k.ring) }

// Next waits for the next event of the call. After [Ended] it returns
// [ErrCallOver]; if the client ends, its error.
func (k *Call) Next(ctx context.Context) (CallEvent, error) { return k.queue.next(ctx) }

// ErrCallOver says that the call has ended and all its events have been read.
var ErrCallOver = errors.New("client: the call is over")

// Ringing tells the caller that this device rings. It does not wait.
func (k *Call) Ringing() { k.ringing(false) }

// Waiting tells the caller that this device rings beside another call. It does not
// wait.
func (k *Call) Waiting() { k.ringing(true) }

// ringing is sent again like any intent; that the caller may not be told, because
// the call is over, is told otherwise.
func (k *Call) ringing(waiting bool) {
	_, _, _ = k.client.start(asking{body: &protocol.CallRinging{Call: k.ID, Waiting: waiting}, intent: true})
}

// Prepare sends the description that this device will answer with, so that ICE and
// DTLS are set up while it rings. It reports whether this is the device that may;
// then candidates may be sent, and no media before the answer. Refusals are those of
// [Call.Answer].
func (k *Call) Prepare(ctx context.Context, sdp string) (bool, error) {
	var reply protocol.CallPreparing
	err := k.client.ask(ctx, asking{body: &protocol.CallPrepare{Call: k.ID, SDP: sdp}, intent: true, reply: &reply})
	return reply.Prepared, err
}

// Answer takes the call. Candidates may be sent once it has returned. The error
// holds a [*protocol.Error] if it was refused: call_ended and call_state say
// that somebody was faster, or that the caller gave up.
func (k *Call) Answer(ctx context.Context, sdp string) error {
	return k.intend(ctx, &protocol.CallAnswer{Call: k.ID, SDP: sdp})
}

// Reject declines the call on all devices of the account. Refusals are those of
// [Call.Answer].
func (k *Call) Reject(ctx context.Context) error {
	return k.intend(ctx, &protocol.CallReject{Call: k.ID})
}

// Busy takes only this device out of the call. Refusals are those of
// [Call.Answer].
func (k *Call) Busy(ctx context.Context) error {
	return k.intend(ctx, &protocol.CallBusy{Call: k.ID})
}

// Cancel withdraws an invite that has not been answered. call_state says that it
// has; hang up then.
func (k *Call) Cancel(ctx context.Context) error {
	return k.intend(ctx, &protocol.CallCancel{Call: k.ID})
}

// Check is that of the client, for who has only the call.
func (k *Call) Check() { k.client.Check() }

// CheckWithin is [Client.CheckWithin] for the one that the call is made by.
func (k *Call) CheckWithin(d time.Duration) { k.client.CheckWithin(d) }

// Hangup ends the call in any state; a repeat is no error. why may be "", or say
// that ICE or the media failed.
func (k *Call) Hangup(ctx context.Context, why protocol.Reason) error {
	return k.intend(ctx, &protocol.CallHangup{Call: k.ID, Why: why})
}

// SendCandidates sends at most 32 candidates of the generation gen, the
// ice-ufrag of this side's newest description. They are numbered in the order
// of the calls of SendCandidates and Describe, and kept across a reconnect. The
// error holds a [*protocol.Error] if it was refused: too_large, call_ended,
// call_unknown.
func (k *Call) SendCandidates(ctx context.Context, gen string, candidates []protocol.Candidate, end bool) error {
	m := &protocol.CallCandidates{Call: k.ID, Gen: gen, Candidates: candidates, End: end}
	return k.client.ask(ctx, asking{body: m, intent: true, number: func() {
		if gen != k.sentGen {
			k.sentGen, k.sentN = gen, 0
		}
		k.sentN++
		m.N = k.sentN
	}})
}

// Describe sends a description inside the call; kind is offer, answer or
// rollback. The error holds a [*protocol.Error] if it was refused: call_state
// before an answer, call_ended, call_unknown.
func (k *Call) Describe(ctx context.Context, kind, sdp string, restart bool) error {
	return k.describe(ctx, &protocol.CallDescribe{Call: k.ID, Kind: kind, SDP: sdp, Restart: restart})
}

// Renew sends the offer of a new peer connection, to be answered by a new one: the
// caller's, when another device has answered than the one that was prepared.
// Refusals are those of [Call.Describe].
func (k *Call) Renew(ctx context.Context, sdp string) error {
	return k.describe(ctx, &protocol.CallDescribe{Call: k.ID, Kind: "offer", SDP: sdp, Renew: true})
}

func (k *Call) describe(ctx context.Context, m *protocol.CallDescribe) error {
	return k.client.ask(ctx, asking{body: m, intent: true, number: func() {
		k.sentDesc++
		m.N = k.sentDesc
	}})
}

// Report tells how the media is on this side; Call need not be set. It may be sent
// for a few seconds after the end, too.
func (k *Call) Report(ctx context.Context, r protocol.CallReport) error {
	r.Call = k.ID
	return k.intend(ctx, &r)
}

// intend makes a request that is sent again until it is answered.
func (k *Call) intend(ctx context.Context, b protocol.Body) error {
	return k.client.ask(ctx, asking{body: b, intent: true})
}
