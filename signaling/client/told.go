package client

import (
	"switchboard/signaling/protocol"
)

// told handles a message that is no answer. It reports false if the client
// ended.
func (c *Client) told(body protocol.Body) bool {
	switch m := body.(type) {
	case *protocol.CallIncoming:
		return c.incoming(m)
	case *protocol.Typing:
		if m.From == nil {
			return true
		}
		return c.emitUnless(Typing{*m.From})
	case *protocol.Presence:
		return c.presence(*m)
	case *protocol.SettingsChanged:
		return c.emit(SettingsChanged{protocol.Settings(*m)})
	case *protocol.CallRinging:
		c.toCall(m.Call, func(k *Call) CallEvent { return k.tellRinging(m.Waiting) })
	case *protocol.CallPrepared:
		c.toCall(m.Call, func(k *Call) CallEvent { return k.tellPrepared(m.SDP) })
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
		k.queue.close(ErrCallOver)
	}
}

func (k *Call) tellRinging(waiting bool) CallEvent {
	news := !k.rang || k.waiting && !waiting // another device rings, which is in no call
	if !news || k.answered {
		return nil
	}
	k.rang, k.waiting = true, waiting
	return Ringing{waiting}
}

func (k *Call) tellPrepared(sdp string) CallEvent {
	if k.prepared || k.answered {
		return nil
	}
	k.prepared = true
	return Prepared{sdp}
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
