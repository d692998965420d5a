package relay_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"switchboard/relay"
)

// book is a registrar that keeps what it was told.
type book struct {
	mu   sync.Mutex
	told []relay.Status
	out  bool
}

func (b *book) Run(ctx context.Context, status func() relay.Status, changed <-chan struct{}) {
	for {
		b.mu.Lock()
		b.told = append(b.told, status())
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			b.mu.Lock()
			b.out = true
			b.mu.Unlock()
			return
		}
	}
}

func (b *book) last() (relay.Status, int, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.told) == 0 {
		return relay.Status{}, 0, b.out
	}
	return b.told[len(b.told)-1], len(b.told), b.out
}

// The registrar hears of the relay once it listens, at once when it is drained, and has
// taken it out before its sockets are closed.
func TestRegistrar(t *testing.T) {
	b := &book{}
	c := relay.Default()
	c.Development, c.Listen, c.Secrets = true, "127.0.0.1:0", []relay.Secret{secretOne}
	s, err := relay.New(c, relay.Deps{Registrar: b})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	<-s.Started()
	wait := func(what string, ok func(relay.Status, int, bool) bool) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for !ok(b.last()) {
			if time.Now().After(deadline) {
				t.Fatalf("never: %s", what)
			}
			time.Sleep(time.Millisecond)
		}
	}
	wait("told that it serves", func(st relay.Status, n int, _ bool) bool {
		return n == 1 && st.Addrs.UDP.String() == s.Addrs().UDP.String() && st.Max == c.Quotas.Allocations && !st.Draining && !st.Started.IsZero()
	})
	drained, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	if err := s.Shutdown(drained); err != nil {
		t.Fatal(err)
	}
	wait("told that it drains", func(st relay.Status, _ int, _ bool) bool { return st.Draining })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if _, _, out := b.last(); !out {
		t.Error("it has not been taken out")
	}
}
