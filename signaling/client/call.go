package client

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
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
	answered  bool          // the answer has been told
	described int           // the newest N of the other side that has been told
	gen       string        // and the newest candidates
	candN     int
	sentDesc  int // the newest N of this side
	sentGen   string
	sentN     int
	over      bool
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

// InviteReply is what became of an invite.
type InviteReply = protocol.CallInvited

// Invite calls a number under an id from [NewID]. If the reply has Merged set,
// the callee was calling at the same moment: this call is over, and the other
// comes as [Incoming] with Merged. The error holds a [*protocol.Error] if it
// was refused: bad_number, self, rate_limited, conflict, unavailable.
func (c *Client) Invite(ctx context.Context, id, to string, media []protocol.Media, sdp string) (*Call, InviteReply, error) {
	k := &Call{ID: id, Role: protocol.Caller, Media: media, client: c, received: time.Now()}
	k.queue.init()
	c.mu.Lock()
	c.calls[id] = k // its events may come before the reply
	c.mu.Unlock()
	var r InviteReply
	err := c.ask(ctx, &protocol.CallInvite{Call: id, To: to, Media: media, SDP: sdp}, true, &r)
	if err != nil || r.Merged != "" {
		c.forget(k)
		return k, r, err
	}
	c.mu.Lock()
	k.peer = r.To
	c.mu.Unlock()
	return k, r, nil
}

func (c *Client) forget(k *Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[k.ID] == k {
		delete(c.calls, k.ID)
	}
	k.over = true
	k.queue.close()
}

// Ringing tells the caller that this device rings.
func (k *Call) Ringing() { k.client.tell(&protocol.CallRinging{Call: k.ID}) }

// Answer takes the call. call_ended and call_state say that somebody was
// faster.
func (k *Call) Answer(ctx context.Context, sdp string) error {
	return k.client.ask(ctx, &protocol.CallAnswer{Call: k.ID, SDP: sdp}, true, nil)
}

// Reject declines the call on all devices of the account.
func (k *Call) Reject(ctx context.Context) error {
	return k.client.ask(ctx, &protocol.CallReject{Call: k.ID}, true, nil)
}

// Busy takes only this device out of the call.
func (k *Call) Busy(ctx context.Context) error {
	return k.client.ask(ctx, &protocol.CallBusy{Call: k.ID}, true, nil)
}

// Cancel withdraws an invite that has not been answered.
func (k *Call) Cancel(ctx context.Context) error {
	return k.client.ask(ctx, &protocol.CallCancel{Call: k.ID}, true, nil)
}

// Hangup ends the call in any state. why may be "".
func (k *Call) Hangup(ctx context.Context, why protocol.Reason) error {
	return k.client.ask(ctx, &protocol.CallHangup{Call: k.ID, Why: why}, true, nil)
}

// SendCandidates sends candidates of the generation gen, the ice-ufrag of this
// side's newest description. They are numbered, and kept across a reconnect.
func (k *Call) SendCandidates(ctx context.Context, gen string, candidates []protocol.Candidate, end bool) error {
	k.client.mu.Lock()
	if gen != k.sentGen {
		k.sentGen, k.sentN = gen, 0
	}
	k.sentN++
	m := &protocol.CallCandidates{Call: k.ID, Gen: gen, N: k.sentN, Candidates: candidates, End: end}
	k.client.mu.Unlock()
	return k.client.ask(ctx, m, true, nil)
}

// Describe sends a description inside the call; kind is offer, answer or
// rollback.
func (k *Call) Describe(ctx context.Context, kind, sdp string, restart bool) error {
	k.client.mu.Lock()
	k.sentDesc++
	m := &protocol.CallDescribe{Call: k.ID, N: k.sentDesc, Kind: kind, SDP: sdp, Restart: restart}
	k.client.mu.Unlock()
	return k.client.ask(ctx, m, true, nil)
}

// Report tells how the media is on this side. path may be nil.
func (k *Call) Report(ctx context.Context, m protocol.MediaState, path *protocol.Path) error {
	return k.client.ask(ctx, &protocol.CallReport{Call: k.ID, Media: m, Path: path}, true, nil)
}

// told handles a message that is no answer. It reports false if the client
// ended.
func (c *Client) told(body protocol.Body) bool {
	switch m := body.(type) {
	case *protocol.CallIncoming:
		return c.incoming(m)
	case *protocol.MailboxItem:
		return c.item(m)
	case *protocol.MailboxDrained:
		return c.emit(Drained{})
	case *protocol.Typing:
		if m.From == nil {
			return true
		}
		return c.emit(Typing{*m.From})
	case *protocol.CallRinging:
		c.toCall(m.Call, func(k *Call) CallEvent { return Ringing{} })
	case *protocol.CallAnswered:
		c.toCall(m.Call, func(k *Call) CallEvent { return k.tellAnswer(m.SDP) })
	case *protocol.CallCandidates:
		c.toCall(m.Call, func(k *Call) CallEvent { return k.tellCandidates(m) })
	case *protocol.CallDescribe:
		c.toCall(m.Call, func(k *Call) CallEvent { return k.tellDescription(m) })
	case *protocol.CallState:
		c.toCall(m.Call, func(*Call) CallEvent { return State{*m} })
	case *protocol.CallEnded:
		c.endCall(*m)
	}
	return true
}

// toCall queues an event for a call that the client knows; make may return nil
// for one that it has had.
func (c *Client) toCall(id string, make func(*Call) CallEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.calls[id]; k != nil {
		if e := make(k); e != nil {
			k.queue.put(e)
		}
	}
}

func (c *Client) endCall(m protocol.CallEnded) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.calls[m.Call]; k != nil {
		delete(c.calls, m.Call)
		k.over = true
		k.queue.put(Ended{m})
		k.queue.close()
	}
}

func (k *Call) tellAnswer(sdp string) CallEvent {
	if k.answered {
		return nil
	}
	k.answered = true
	return Answered{sdp}
}

func (k *Call) tellCandidates(m *protocol.CallCandidates) CallEvent {
	if m.Gen == k.gen && m.N <= k.candN {
		return nil
	}
	k.gen, k.candN = m.Gen, m.N
	return Candidates{*m}
}

func (k *Call) tellDescription(m *protocol.CallDescribe) CallEvent {
	if m.N <= k.described {
		return nil
	}
	k.described = m.N
	return Description{*m}
}

// incoming tells the program of a call, once, and once more if it turns out to
// be the surviving one of a glare.
func (c *Client) incoming(m *protocol.CallIncoming) bool {
	c.mu.Lock()
	k := c.calls[m.Call]
	if k != nil && !m.Merged {
		c.mu.Unlock()
		return true
	}
	if k == nil {
		k = &Call{
			ID: m.Call, Role: protocol.Callee, Media: m.Media, client: c, received: time.Now(),
			peer: m.From, offer: m.SDP, ring: time.Duration(m.RingMS-m.AgeMS) * time.Millisecond,
		}
		k.queue.init()
		c.calls[m.Call] = k
	}
	k.ice = m.ICE
	c.mu.Unlock()
	return c.emit(Incoming{k, m.Merged})
}

// takeUp compares the calls that the server knows with those of the client,
// after the session could not be resumed in full.
func (c *Client) takeUp(snapshots []protocol.CallSnapshot) {
	there := map[string]bool{}
	for i := range snapshots {
		s := &snapshots[i]
		there[s.Call] = true
		c.takeUpCall(s)
	}
	c.mu.Lock()
	var gone []*Call
	for id, k := range c.calls {
		// A call without a peer is one whose invite is still to be answered.
		if !there[id] && !(k.Role == protocol.Caller && k.peer.IsZero()) {
			gone = append(gone, k)
		}
	}
	c.mu.Unlock()
	for _, k := range gone {
		c.endCall(protocol.CallEnded{Call: k.ID, Reason: protocol.ReasonConnectionLost})
	}
}

func (c *Client) takeUpCall(s *protocol.CallSnapshot) {
	c.mu.Lock()
	k := c.calls[s.Call]
	c.mu.Unlock()
	if k == nil {
		if s.Role != protocol.Callee || s.State != protocol.Trying && s.State != protocol.Ringing {
			return // of an earlier run of the program, whose media is gone
		}
		c.incoming(&protocol.CallIncoming{
			Call: s.Call, From: s.Peer, Media: s.Media, SDP: s.SDP, AgeMS: s.AgeMS, RingMS: s.RingMS, ICE: s.ICE,
		})
	} else {
		c.toCall(s.Call, func(k *Call) CallEvent {
			switch {
			case s.Role == protocol.Caller && s.N == 0 && s.Kind == "answer":
				return k.tellAnswer(s.SDP)
			case s.N > 0:
				return k.tellDescription(&protocol.CallDescribe{Call: s.Call, N: s.N, Kind: s.Kind, SDP: s.SDP})
			}
			return nil
		})
	}
	for i := range s.Candidates {
		c.toCall(s.Call, func(k *Call) CallEvent { return k.tellCandidates(&s.Candidates[i]) })
	}
	if k != nil {
		c.toCall(s.Call, func(*Call) CallEvent { return State{protocol.CallState{Call: s.Call, State: s.State}} })
	}
}

// callQueue holds the events of a call until the program takes them. It is
// bounded by what a call can bring; a program that takes none loses the oldest
// beyond that.
type callQueue struct {
	mu     sync.Mutex
	events []CallEvent
	closed bool
	wake   chan struct{}
}

const maxCallEvents = 1024

func (q *callQueue) init() { q.wake = make(chan struct{}, 1) }

func (q *callQueue) put(e CallEvent) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if len(q.events) >= maxCallEvents {
		q.events = q.events[1:]
	}
	q.events = append(q.events, e)
	q.signal()
}

func (q *callQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *callQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *callQueue) next(ctx context.Context) (CallEvent, error) {
	for {
		q.mu.Lock()
		if len(q.events) > 0 {
			e := q.events[0]
			q.events = q.events[1:]
			q.mu.Unlock()
			return e, nil
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			q.signal() // for others who wait
			return nil, ErrCallOver
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
