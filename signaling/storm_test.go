package signaling

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/signaling/auth"
	"switchboard/signaling/protocol"
)

// slowTokens takes its time with each, and notes how many it had at once.
type slowTokens struct {
	tokens
	takes     time.Duration
	now, most atomic.Int64
}

func (a *slowTokens) Authenticate(ctx context.Context, token string) (auth.Identity, error) {
	if n := a.now.Add(1); n > a.most.Load() {
		a.most.Store(n)
	}
	defer a.now.Add(-1)
	time.Sleep(a.takes)
	return a.tokens.Authenticate(ctx, token)
}

// TestStorm has many more devices come at once than are let in at a time. They
// stand in line; who would have to wait for longer than clients do is asked to
// come back.
func TestStorm(t *testing.T) {
	const devices = 2*maxGreeting + 10
	for _, test := range []struct {
		name    string
		takes   time.Duration
		refused int
	}{
		{"all have their turn", time.Second, 0},
		{"some would wait for too long", greetWithin/2 + time.Second, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n := w.node("n1")
				slow := &slowTokens{tokens: w.tokens, takes: test.takes}
				n.server.Auth = slow
				token := w.device(n, alice)
				phones := make([]*phone, devices)
				for i := range phones {
					phones[i] = n.dial()
					phones[i].send(protocol.Frame{}, &protocol.Hello{Token: token, Away: true})
				}
				refused := 0
				for _, p := range phones {
					f := p.next(func(protocol.Frame) bool { return true })
					if f.T == protocol.TypeWelcome {
						continue
					}
					refused++
					var e protocol.Error
					if err := protocol.DecodeReply(f, &e); err != nil || e.Code != protocol.CodeUnavailable || !e.Retry || e.AfterMS == 0 {
						t.Errorf("refused with %s %s", f.T, f.D)
					}
					if code := p.closedWith(); !code.Reconnect() {
						t.Errorf("closed with %v", code)
					}
				}
				if refused != test.refused || slow.most.Load() != maxGreeting {
					t.Errorf("%d refused, want %d; %d at a time, want %d", refused, test.refused, slow.most.Load(), maxGreeting)
				}
			})
		})
	}
}
