package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"switchboard/signaling/client"
)

// calls is what became of the short calls. Guarded by mu.
type calls struct {
	mu       sync.Mutex
	answered int
	failed   []failedCall
	windows  []window // of faults
	worst    time.Duration
}

// window is when things need not be well: from the beginning of a fault until
// all must be.
type window struct{ from, to time.Time }

// failedCall is one that was not answered.
type failedCall struct {
	from, to time.Time
	why      error
}

// callEvery is how long a pair waits between two calls.
const callEvery = 2 * time.Second

// callers has pairs of phones call each other until ctx ends, those that the
// long talks leave alone.
func (c *chaos) callers(ctx context.Context) {
	for i := 4; i+1 < phones; i += 2 {
		c.use.Go(func() {
			for pause(ctx, callEvery/2+rand.N(callEvery)) {
				a, b := c.phones[i], c.phones[i+1]
				if rand.IntN(2) == 0 {
					a, b = b, a
				}
				c.shortCall(context.WithoutCancel(ctx), a, b)
			}
		})
	}
}

// callWithin is how long a call may take to be answered, faults included.
const callWithin = 2 * time.Minute

// shortCall sets a call up and hangs it up. It must end on both sides, whatever
// happens meanwhile.
func (c *chaos) shortCall(ctx context.Context, a, b *phone) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	began := time.Now()
	call, err := a.call(ctx, b.number)
	c.calls.note(began, err)
	if err != nil {
		return
	}
	pause(ctx, rand.N(callEvery/4))
	if err := hangUp(ctx, call); err != nil {
		c.ledger.fault("the caller's end of a call: %v", err)
	}
}

// hangUp ends a call and waits until it is over.
func hangUp(ctx context.Context, call *client.Call) error {
	if err := call.Hangup(ctx, ""); err != nil {
		return fmt.Errorf("hang up: %w", err)
	}
	for {
		e, err := call.Next(ctx)
		if err != nil {
			return fmt.Errorf("the word that it is over: %w", err)
		}
		// Who connects again meanwhile may only hear that the call is gone.
		if _, ended := e.(client.Ended); ended {
			return nil
		}
	}
}

func (k *calls) note(began time.Time, err error) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.failed = append(k.failed, failedCall{began, now, err})
		return
	}
	k.answered++
	k.worst = max(k.worst, now.Sub(began))
}

// trouble notes when a fault was, and until when it is an excuse.
func (k *calls) trouble(from, to time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.windows = append(k.windows, window{from, to})
}

// inexcusable are the failures of calls while all was well, and how many there
// were in all.
func (k *calls) inexcusable() (bad []error, failed int) {
	k.mu.Lock()
	defer k.mu.Unlock()
next:
	for _, f := range k.failed {
		for _, w := range k.windows {
			if f.from.Before(w.to) && w.from.Before(f.to) {
				continue next
			}
		}
		bad = append(bad, f.why)
	}
	return bad, len(k.failed)
}

// hanging counts the calls that the callees are still in.
func (c *chaos) hanging() (n int) {
	for _, p := range c.phones {
		p.mu.Lock()
		n += len(p.calls)
		p.mu.Unlock()
	}
	return n
}
