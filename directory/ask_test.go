package directory_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"switchboard/directory"
	"switchboard/directory/directorytest"
)

// A node that has too much to do says so at once.
func TestBusyNode(t *testing.T) {
	n := directorytest.NATS(t)
	release := make(chan struct{})
	var once sync.Once
	busy := directorytest.OpenWith(t, n, "busy", nil, func(ctx context.Context, r directory.Request) ([]byte, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil, nil
	})
	d := directorytest.Open(t, n, "n1", nil)
	var refused atomic.Int32
	var wg sync.WaitGroup
	for range directory.AskQueue + 64 {
		wg.Go(func() {
			_, err := d.Ask(t.Context(), busy.Incarnation(), directory.Request{Kind: "x", Account: acct1})
			switch {
			case errors.Is(err, directory.ErrUnavailable):
				refused.Add(1)
				once.Do(func() { close(release) })
			case err != nil:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if refused.Load() == 0 {
		t.Error("nobody was refused")
	}
}

// Whoever waits for a node that ends hears that it is gone.
func TestAskOfANodeThatEnds(t *testing.T) {
	n := directorytest.NATS(t)
	ending := directorytest.OpenOnly(t, n, "ending", nil)
	inside := make(chan struct{}, 1)
	ending.Answer(func(ctx context.Context, r directory.Request) ([]byte, error) {
		inside <- struct{}{}
		<-ctx.Done()
		return []byte("late"), nil
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ending.Run(ctx) }()
	<-ending.Started()
	d := directorytest.Open(t, n, "n1", nil)
	answers := make(chan error, 2)
	for i := range 2 {
		go func() {
			_, err := d.Ask(t.Context(), ending.Incarnation(), directory.Request{Kind: "x", Account: acct1})
			answers <- err
		}()
		if i == 0 {
			<-inside
		}
	}
	await(t, "the second waits", func() bool { return directory.Waiting(ending) == 1 })
	stop()
	var gone, answered int
	for range 2 {
		switch err := <-answers; {
		case err == nil:
			answered++
		case errors.Is(err, directory.ErrGone):
			gone++
		default:
			t.Error(err)
		}
	}
	if gone != 1 || answered != 1 {
		t.Errorf("%d were answered and %d heard that it is gone, want 1 and 1", answered, gone)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAskWithoutHandler(t *testing.T) {
	n := directorytest.NATS(t)
	a, b := directorytest.Open(t, n, "n1", nil), directorytest.Open(t, n, "n2", nil)
	_, err := a.Ask(t.Context(), b.Incarnation(), directory.Request{Kind: "x", Account: acct1})
	if err == nil || errors.Is(err, directory.ErrGone) || errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("asking a node that answers nobody: %v", err)
	}
	for _, kind := range []string{"", "a.b", "*", ">", "a b", "A"} {
		if _, err := a.Ask(t.Context(), b.Incarnation(), directory.Request{Kind: kind, Account: acct1}); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("asking for %q: %v", kind, err)
		}
	}
}
