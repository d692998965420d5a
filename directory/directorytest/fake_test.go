package directorytest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/directory"
	"switchboard/directory/directorytest"
)

func TestFake(t *testing.T) {
	directorytest.Run(t, func(testing.TB) directorytest.Nodes {
		w := directorytest.NewWorld()
		return func(name string, answer directorytest.Handler) directorytest.Directory {
			f := w.Node(name)
			f.Answer(answer)
			return f
		}
	})
}

func TestFakeDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := directorytest.NewWorld()
		a, b := w.Node("a"), w.Node("b")
		b.Answer(func(_ context.Context, _ directory.Request) ([]byte, error) { return nil, nil })
		rec, err := a.Register(t.Context(), directorytest.Number(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		dev, err := a.AddDevice(t.Context(), rec.Account, "x", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.Bind(t.Context(), rec.Account, dev.Device, "c"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		b.Die()
		if got, err := a.BindingsConfirmed(t.Context(), rec.Account); err != nil || len(got) != 0 {
			t.Errorf("bindings of a dead node: %+v, %v", got, err)
		}
		if p, err := a.PresenceOf(t.Context(), rec.Account); err != nil || p.Online || !p.LastSeen.Equal(time.Now()) {
			t.Errorf("presence = %+v, %v; it is %v", p, err, time.Now())
		}
		if _, err := a.Ask(t.Context(), "b", directory.Request{Kind: "x", Account: rec.Account}); !errors.Is(err, directory.ErrGone) {
			t.Errorf("asking a dead node: %v", err)
		}
		if _, _, err := b.Bind(t.Context(), rec.Account, dev.Device, "c"); !errors.Is(err, directory.ErrLeaseLost) {
			t.Errorf("bind at a dead node: %v", err)
		}
	})
}

// A handler that takes its time does not stop the clock of a bubble for those
// who wait for their turn.
func TestFakeWaitsInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := directorytest.NewWorld()
		a, b := w.Node("a"), w.Node("b")
		b.Answer(func(context.Context, directory.Request) ([]byte, error) {
			time.Sleep(time.Minute)
			return nil, nil
		})
		begun := time.Now()
		done := make(chan error)
		for range 3 {
			go func() {
				_, err := a.Ask(t.Context(), "b", directory.Request{Kind: "x", Account: "0000000000002"})
				done <- err
			}()
		}
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(begun); d != 3*time.Minute {
			t.Errorf("three requests of a minute took %v", d)
		}
	})
}
