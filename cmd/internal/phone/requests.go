package phone

import (
	"context"
	"fmt"
	"time"

	"switchboard/signaling/protocol"
)

// request is something to be asked of the server about the call.
type request struct {
	what string
	do   func(context.Context) error
}

// maxRequests is how many requests may wait, as for a session that comes back.
const maxRequests = 256

// request makes a request in its turn, beside the events, which its answer must
// not hold up.
func (p *phone) request(what string, do func(context.Context) error) {
	select {
	case p.requests <- request{what, do}:
	default:
		p.o.warn(fmt.Errorf("%s: too much waits for the server", what))
	}
}

// makeRequests makes one request after the other: the other side takes what
// comes out of order for a repeat.
func (p *phone) makeRequests(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-p.requests:
			rctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			err := r.do(rctx)
			cancel()
			if err != nil && protocol.CodeOf(err) != protocol.CodeCallEnded && ctx.Err() == nil {
				p.o.warn(fmt.Errorf("%s: %w", r.what, err))
			}
		}
	}
}
