package client

import "switchboard/signaling/protocol"

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
		if !there[id] && (k.Role == protocol.Callee || k.settled) {
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
		if s.Role == protocol.Caller && s.Kind == "pranswer" {
			c.toCall(s.Call, func(k *Call) CallEvent { return k.tellPrepared(s.SDP) })
		}
		if s.Role == protocol.Caller && s.N > 0 {
			c.toCall(s.Call, func(k *Call) CallEvent { return k.tellAnswer("") })
		}
		c.toCall(s.Call, func(k *Call) CallEvent {
			switch {
			case s.Role == protocol.Caller && s.State == protocol.Ringing:
				return k.tellRinging(false)
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
