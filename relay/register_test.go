package relay_test

import (
	"context"
	"sync"
	"testing"

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
	s := start(t, nil, b)
	most := relay.Default().Quotas.Allocations
	eventually(t, "it is told that the relay serves", func() bool {
		st, n, _ := b.last()
		return n == 1 && st.Addrs.UDP.String() == s.Addrs().UDP.String() && st.Max == most && !st.Draining
	})
	drained, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	if err := s.Shutdown(drained); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told that the relay drains", func() bool { st, _, _ := b.last(); return st.Draining })
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if _, _, out := b.last(); !out {
		t.Error("it has not taken the relay out")
	}
}
