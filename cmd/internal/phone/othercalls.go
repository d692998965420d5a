package phone

import (
	"context"
	"fmt"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// otherCalls reads the client's events while a call is made. Calls that come
// hear that the device is busy, but not before it is known whether one of them
// is the very call that this one was merged into.
type otherCalls struct {
	o       *Options
	invited chan string       // takes, once, the id of the call that the invite was merged into, or ""
	merged  chan *client.Call // brings that call
	held    []*client.Call    // nobody knows yet
	stop    func()
}

func readOtherCalls(ctx context.Context, c *client.Client, opts *Options) *otherCalls {
	ctx, cancel := context.WithCancel(ctx)
	o := &otherCalls{o: opts, invited: make(chan string, 1), merged: make(chan *client.Call, 1)}
	ended := make(chan struct{})
	o.stop = func() {
		cancel()
		<-ended
	}
	go func() {
		defer close(ended)
		o.read(ctx, c.Events())
	}()
	return o
}

func (o *otherCalls) read(ctx context.Context, events <-chan client.Event) {
	settled, into := false, ""
	for {
		select {
		case <-ctx.Done():
			return
		case into = <-o.invited:
			settled = true
			for _, call := range o.held {
				if call.ID != into {
					o.busy(ctx, call)
				}
			}
			o.held = nil
		case ev, ok := <-events:
			if !ok {
				return
			}
			switch ev := ev.(type) {
			case client.Incoming:
				switch {
				case ev.Merged:
					select {
					case o.merged <- ev.Call:
					default:
					}
				case settled && ev.Call.ID == into: // it was on its way before the answer
				case settled || len(o.held) >= maxHeld:
					o.busy(ctx, ev.Call)
				default:
					o.held = append(o.held, ev.Call)
				}
			case client.Disconnected:
				o.o.tell("signaling lost", "retry", ev.Retry)
			}
		}
	}
}

// maxHeld bounds how many calls may wait for the answer to an invite.
const maxHeld = 8

func (o *otherCalls) busy(ctx context.Context, call *client.Call) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := call.Busy(ctx); err != nil && protocol.CodeOf(err) != protocol.CodeCallEnded {
		o.o.warn(fmt.Errorf("a second call: %w", err))
	}
}
