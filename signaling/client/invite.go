package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"switchboard/signaling/protocol"
)

// InviteReply is what became of an invite.
type InviteReply = protocol.CallInvited

// glare keeps calls back that ring while an invite of this client waits for its
// answer: they may be of the number that is being called, which is calling, too.
// The client's mu guards it.
type glare struct {
	inviting int             // invites that wait
	held     []*Call         // incoming calls that have not been told
	merged   map[string]bool // calls that invites were merged into and that are still to come
}

// maxGlare bounds what a server can make the client hold back and remember.
const maxGlare = 64

// Invite calls a number, in any way of writing it, under an id from [NewID].
// Events of the call may be there when it returns. If the reply has Merged set,
// the callee was calling at the same moment: this call is over, and the other
// comes as [Incoming] with Merged. If ctx ends first, the call is hung up. The
// error holds a [*protocol.Error] if it was refused: bad_number, self,
// rate_limited, conflict, unavailable.
func (c *Client) Invite(ctx context.Context, id, to string, media []protocol.Media, sdp string) (*Call, InviteReply, error) {
	k := &Call{ID: id, Role: protocol.Caller, Media: media, client: c, received: time.Now()}
	k.queue.init()
	c.mu.Lock()
	c.calls[id] = k // its events may come before the reply
	c.glare.inviting++
	c.mu.Unlock()
	var reply InviteReply
	err := c.ask(ctx, asking{
		body:     &protocol.CallInvite{Call: id, To: to, Media: media, SDP: sdp},
		intent:   true,
		reply:    &reply,
		answered: func(f protocol.Frame) { c.invited(k, f) },
	})
	if err == nil {
		return k, reply, nil
	}
	c.settle(k, InviteReply{})
	c.forget(k)
	var refused *protocol.Error
	if !errors.As(err, &refused) || refused.Retry {
		// The server may have begun the call. Nobody waits for the answer.
		_, _, _ = c.start(asking{body: &protocol.CallHangup{Call: id}, intent: true})
	}
	return k, reply, err
}

// invited is told the answer to an invite before any frame that follows it.
func (c *Client) invited(k *Call, f protocol.Frame) {
	var r InviteReply
	if f.T != protocol.TypeOK || protocol.DecodeReply(f, &r) != nil {
		return // refused, perhaps to be tried again
	}
	c.settle(k, r)
	if r.Merged != "" {
		c.forget(k)
	}
}

// settle ends the wait of an invite, once, and tells the calls that were held
// back for it.
func (c *Client) settle(k *Call, r InviteReply) {
	var events []Event
	c.mu.Lock()
	if !k.settled {
		k.settled = true
		k.peer = r.To
		c.glare.inviting--
		if r.Merged != "" {
			events = c.mergeInto(r.Merged)
		}
		if c.glare.inviting == 0 {
			for _, h := range c.glare.held {
				if !h.over {
					events = append(events, Incoming{h, false})
				}
			}
			c.glare.held = nil
		}
	}
	c.mu.Unlock()
	for _, e := range events {
		c.emit(e)
	}
}

// mergeInto tells the surviving call of a glare, if it is there already. mu
// must be held.
func (c *Client) mergeInto(id string) []Event {
	if k := c.calls[id]; k != nil {
		return c.tellMerged(k)
	}
	if c.glare.merged == nil || len(c.glare.merged) >= maxGlare {
		c.glare.merged = map[string]bool{}
	}
	c.glare.merged[id] = true
	return nil
}

// tellMerged makes the event of a surviving call, once. mu must be held.
func (c *Client) tellMerged(k *Call) []Event {
	c.glare.held = slices.DeleteFunc(c.glare.held, func(h *Call) bool { return h == k })
	if k.merged {
		return nil
	}
	k.merged = true
	return []Event{Incoming{k, true}}
}

// incoming tells the program of a call, once, and once more if it had been told
// before it turned out to be the surviving one of a glare. It reports false if
// the client ended.
func (c *Client) incoming(m *protocol.CallIncoming) bool {
	if c.unwanted(m) {
		_, _, _ = c.start(asking{body: &protocol.CallHangup{Call: m.Call}, intent: true}) // nobody waits for the answer
		return true
	}
	for _, e := range c.rung(m) {
		if !c.emit(e) {
			return false
		}
	}
	return true
}

// unwanted reports whether a call is the surviving one of a glare whose invite was
// given up before that was known: nobody has heard of it, and nobody wants it.
func (c *Client) unwanted(m *protocol.CallIncoming) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return m.Merged && c.glare.inviting == 0 && !c.glare.merged[m.Call] && c.calls[m.Call] == nil
}

// rung takes a call up and returns what is to be told of it.
func (c *Client) rung(m *protocol.CallIncoming) []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.calls[m.Call]
	fresh := k == nil
	if fresh {
		k = &Call{
			ID: m.Call, Role: protocol.Callee, Media: m.Media, client: c, received: time.Now(),
			peer: m.From, offer: m.SDP, ring: time.Duration(m.RingMS-m.AgeMS) * time.Millisecond,
		}
		k.queue.init()
		c.calls[m.Call] = k
	}
	if k.Role == protocol.Caller {
		return nil
	}
	k.ice = m.ICE
	merged := m.Merged || c.glare.merged[m.Call]
	delete(c.glare.merged, m.Call)
	switch {
	case merged:
		return c.tellMerged(k)
	case fresh && c.glare.inviting > 0 && len(c.glare.held) < maxGlare:
		c.glare.held = append(c.glare.held, k)
		return nil
	case fresh:
		return []Event{Incoming{k, false}}
	}
	return nil
}

// forget drops a call of which nothing more is to be told.
func (c *Client) forget(k *Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[k.ID] == k {
		delete(c.calls, k.ID)
	}
	k.over = true
	k.queue.close(ErrCallOver)
}
