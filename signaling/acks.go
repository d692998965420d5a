package signaling

import (
	"sync"
	"time"
)

// acks removes from a device's mailbox what the device has acknowledged, after
// the senders' receipts are stored. What comes while that goes on, or within
// ackPause of it, is done at once afterwards: a single text waits for nothing,
// and a stream of them costs a few writes a second. Until it is done the items
// are in the mailbox, so that a node that dies loses nothing; the device gets
// them again then, and drops them.
type acks struct {
	// Guarded by mu.
	mu      sync.Mutex
	running bool
	have    []flight // acknowledged and not removed yet
}

// ackPause is how long what is acknowledged may wait for more of it.
const ackPause = 200 * time.Millisecond

// add is told that the device has items, the oldest first.
func (a *acks) add(ss *session, have []flight) {
	if len(have) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.have = append(a.have, have...)
	if !a.running {
		a.running = ss.srv.goroutines.Go(func() { a.run(ss) })
	}
}

// run ends when nothing is left to do, or the server stops.
func (a *acks) run(ss *session) {
	for {
		have := a.take()
		if len(have) == 0 {
			return
		}
		if !a.settle(ss, have) {
			a.putBack(have)
		}
		if !ss.srv.pause(ackPause) {
			return
		}
	}
}

func (a *acks) take() []flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	have := a.have
	a.have, a.running = nil, len(have) > 0
	return have
}

func (a *acks) putBack(have []flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.have = append(have, a.have...)
}

// settle stores the receipts and removes the items. It reports whether it did.
func (a *acks) settle(ss *session, have []flight) bool {
	ctx, cancel := ss.srv.request()
	defer cancel()
	if err := ss.srv.delivered(ctx, ss, have); err != nil {
		ss.srv.log.Warn("receipts not stored", "error", err)
		return false
	}
	// Only what was sent here is removed, whatever the device claims to have.
	if err := ss.srv.Mailboxes.Ack(ctx, ss.box(), have[len(have)-1].seq); err != nil {
		ss.srv.log.Warn("mailbox not purged", "error", err)
		return false
	}
	return true
}
