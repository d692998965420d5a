package signaling

import (
	"time"

	"switchboard/directory"
	"switchboard/signaling/call"
	"switchboard/signaling/protocol"
	"switchboard/signaling/push"
)

// restAfter is how long a device may be without a connection until it is taken to
// be asleep: those that change networks are back before.
const restAfter = 3 * time.Second

// maxWakes bounds what one device is still to be woken for.
const maxWakes = 16

// rest is what a session knows of a device without a connection. Its session may
// still be resumed, so others take the device for connected, and nobody but its own
// node can wake it.
type rest struct {
	// Guarded by the session's mu.
	timer  *time.Timer // until it is taken to be asleep; nil if it is connected, or cannot be woken
	asleep bool
	rung   map[string]struct{} // calls that it has been woken for
	wakes  []push.Wake         // to be queued, in order
	waking bool                // a goroutine queues them
}

// end is told that the device is back, or its session over. It must hold the
// session's mu, as must all below that say so.
func (r *rest) end() {
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer, r.asleep, r.rung = nil, false, nil
}

// retire begins the device's rest. It must hold mu.
func (s *session) retire() {
	if s.srv.Pushes == nil {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(restAfter, func() {
		s.srv.goroutines.Go(func() { s.sleep(t) })
	})
	s.rest.timer = t
}

// sleep is told that the device is asleep, and wakes it for what it may have missed
// because its connection was not known to be gone.
func (s *session) sleep(t *time.Timer) {
	s.mu.Lock()
	if s.rest.timer != t {
		s.mu.Unlock()
		return
	}
	s.rest.asleep = true
	s.mu.Unlock()
	if s.mail.owes() {
		s.wakeFor(push.Wake{Reason: push.Message})
	}
	ctx, cancel := s.srv.request()
	defer cancel()
	for _, id := range s.inCalls() {
		r, _, _, err := s.srv.calls.load(ctx, id)
		if err == nil && r.Alerting() && r.Callee.Account == string(s.account) {
			s.wakeFor(ringPush(id, r.Created))
		}
	}
}

// ringPush says that a call rings.
func ringPush(id string, since time.Time) push.Wake {
	return push.Wake{Reason: push.Ring, Call: id, Expires: since.Add(call.RingFor)}
}

// stopPush says that a call rings no longer.
func stopPush(id string, since time.Time) push.Wake {
	return push.Wake{Reason: push.Stop, Call: id, Expires: since.Add(call.RingFor + stopFor)}
}

// missing wakes the device for a message that it is not there to hear, if it is
// one to wake for. It must hold mu.
func (s *session) missing(b protocol.Body) {
	now := time.Now()
	switch b := b.(type) {
	case *protocol.CallIncoming:
		s.wakeLocked(ringPush(b.Call, now.Add(-time.Duration(b.AgeMS)*time.Millisecond)))
	case *protocol.CallEnded:
		if _, ok := s.rest.rung[b.Call]; ok {
			delete(s.rest.rung, b.Call)
			s.wakeLocked(stopPush(b.Call, now))
		}
	}
}

// wakeFor wakes the device if it is asleep.
func (s *session) wakeFor(w push.Wake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeLocked(w)
}

func (s *session) wakeLocked(w push.Wake) {
	r := &s.rest
	if !r.asleep || len(r.wakes) >= maxWakes {
		return
	}
	if w.Reason == push.Ring {
		if _, ok := r.rung[w.Call]; ok {
			return
		}
		if r.rung == nil {
			r.rung = map[string]struct{}{}
		}
		r.rung[w.Call] = struct{}{}
	}
	if r.wakes = append(r.wakes, w); !r.waking {
		r.waking = s.srv.goroutines.Go(s.wakeUp)
	}
}

// wakeUp queues what is to be queued, one after the other.
func (s *session) wakeUp() {
	for {
		s.mu.Lock()
		r := &s.rest
		if len(r.wakes) == 0 {
			r.waking = false
			s.mu.Unlock()
			return
		}
		w := r.wakes[0]
		r.wakes = r.wakes[1:]
		s.mu.Unlock()
		ctx, cancel := s.srv.request()
		s.srv.wakeDevice(ctx, s.account, directory.Device(s.device), w)
		cancel()
	}
}
