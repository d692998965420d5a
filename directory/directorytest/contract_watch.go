package directorytest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/directory"
)

// Whoever watches an account hears of its devices coming and going on any node,
// and of what is announced, until he stops.
func watch(t *testing.T, w world) {
	ctx, a, b := t.Context(), w.node("n1", nil), w.node("n2", nil)
	acct := must(a.Register(ctx, number(t, 1)))(t).Account
	other := must(a.Register(ctx, number(t, 2)))(t).Account
	dev := must(a.AddDevice(ctx, acct, "x", ""))(t).Device
	first, second := make(ear, 100), make(ear, 100)
	stopFirst := must(a.Watch(acct, first.hear))(t)
	stopSecond := must(a.Watch(acct, second.hear))(t)
	var strange atomic.Int64
	stopOther := must(a.Watch(other, func() { strange.Add(1) }))(t)
	defer stopOther()

	w.soon(t, "the other node knows of the watches", func() bool {
		if err := b.Announce(acct); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		return !w.lags || len(first) > 0 && len(second) > 0
	})
	first.forget()
	second.forget()
	fence, _, err := b.Bind(ctx, acct, dev, "c1")
	if err != nil {
		t.Fatal(err)
	}
	first.heard(t, "a device came")
	second.heard(t, "a device came")
	must(b.Unbind(ctx, acct, dev, fence))(t)
	first.heard(t, "a device went")
	second.heard(t, "a device went")
	stopFirst()
	stopFirst()
	for _, n := range []Directory{a, b} {
		if err := n.Announce(acct); err != nil {
			t.Fatal(err)
		}
		second.heard(t, "announced")
	}
	if len(first) > 0 {
		t.Error("it is told after it stopped")
	}
	if n := strange.Load(); n > 0 {
		t.Errorf("who watches another account was told %d times", n)
	}
	stopSecond()

	// Nobody watches any more; watching begins anew.
	third := make(ear, 100)
	defer must(a.Watch(acct, third.hear))(t)()
	w.soon(t, "a new watcher is told", func() bool {
		if err := b.Announce(acct); err != nil {
			t.Fatal(err)
		}
		select {
		case <-third:
			return true
		case <-time.After(time.Second):
			return false
		}
	})

	for _, bad := range []directory.Account{"", "x", "0000000000000.>", "*"} {
		if err := a.Announce(bad); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("announce: %v, want %v", err, directory.ErrNotFound)
		}
		if _, err := a.Watch(bad, func() {}); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("watch: %v, want %v", err, directory.ErrNotFound)
		}
	}
}

// ear counts what a watcher is told.
type ear chan struct{}

func (e ear) hear() {
	select {
	case e <- struct{}{}:
	default:
	}
}

// forget takes what it has been told, and what may be on its way.
func (e ear) forget() {
	for {
		select {
		case <-e:
		case <-time.After(50 * time.Millisecond):
			return
		}
	}
}

// heard waits until it has been told.
func (e ear) heard(t *testing.T, what string) {
	t.Helper()
	select {
	case <-e:
	case <-time.After(10 * time.Second):
		t.Fatalf("not told in 10 seconds: %s", what)
	}
}
