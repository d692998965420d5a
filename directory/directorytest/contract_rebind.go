package directorytest

import (
	"errors"
	"testing"
	"time"

	"switchboard/directory"
)

// A node that records its bindings again keeps those that are its own, and
// loses those that somebody newer has.
func rebind(t *testing.T, w world) {
	ctx, a, b := t.Context(), w.node("n1", nil), w.node("n2", nil)
	acct := must(a.Register(ctx, number(t, 1)))(t).Account
	dev := must(a.AddDevice(ctx, acct, "x", ""))(t).Device
	since := time.Now()
	old, _, err := a.Bind(ctx, acct, dev, "c1")
	if err != nil {
		t.Fatal(err)
	}
	fence, prev, err := a.Rebind(ctx, acct, dev, "c1", since)
	if err != nil || prev != nil || fence <= old {
		t.Fatalf("its own: fences %d and %d, %+v, %v", old, fence, prev, err)
	}
	if did := must(a.Unbind(ctx, acct, dev, old))(t); did {
		t.Error("the fence of before is still good")
	}
	if got := must(b.BindingsConfirmed(ctx, acct))(t); len(got) != 1 || got[0].Conn != "c1" || got[0].Fence != fence || got[0].Rebound {
		t.Errorf("bindings = %+v", got)
	}
	newer, _, err := b.Bind(ctx, acct, dev, "c2")
	if err != nil {
		t.Fatal(err)
	}
	// Whatever the clock of the other node says.
	for _, since := range []time.Time{since, time.Now().Add(time.Hour)} {
		if _, _, err := a.Rebind(ctx, acct, dev, "c1", since); !errors.Is(err, directory.ErrReplaced) {
			t.Errorf("somebody newer has it: %v", err)
		}
	}
	if got := must(a.BindingsConfirmed(ctx, acct))(t); len(got) != 1 || got[0].Conn != "c2" || got[0].Fence != newer {
		t.Errorf("bindings = %+v", got)
	}
	if err := a.RemoveDevice(ctx, acct, dev); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Rebind(ctx, acct, dev, "c2", since); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("the device has been removed: %v", err)
	}
	if _, _, err := b.Rebind(ctx, "zz", 1, "c2", since); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("no account: %v", err)
	}
}

// Two nodes that both believe that they have a device, of which no record is
// left, agree on the newer connection, whoever comes first.
func rebindLost(t *testing.T, w world) {
	ctx, nodes := t.Context(), []Directory{w.node("n1", nil), w.node("n2", nil)}
	acct := must(nodes[0].Register(ctx, number(t, 1)))(t).Account
	older := time.Now().Add(-time.Minute)
	newer := older.Add(time.Second)
	for _, first := range []int{0, 1} {
		dev := must(nodes[0].AddDevice(ctx, acct, "x", ""))(t).Device
		lost, kept := nodes[first], nodes[1-first]
		for range 3 { // and again, as after another loss of the lease
			if first == 0 {
				if _, _, err := lost.Rebind(ctx, acct, dev, "older", older); err != nil && !errors.Is(err, directory.ErrReplaced) {
					t.Fatal(err)
				}
			}
			if _, _, err := kept.Rebind(ctx, acct, dev, "newer", newer); err != nil {
				t.Fatalf("the newer: %v", err)
			}
			if _, _, err := lost.Rebind(ctx, acct, dev, "older", older); !errors.Is(err, directory.ErrReplaced) {
				t.Errorf("the older: %v", err)
			}
		}
		if got := must(kept.BindingsConfirmed(ctx, acct))(t); len(got) == 0 || got[len(got)-1].Conn != "newer" || !got[len(got)-1].Rebound {
			t.Errorf("bindings = %+v", got)
		}
		// A device that connects is newer than all.
		if _, prev, err := lost.Bind(ctx, acct, dev, "newest"); err != nil || prev != nil && prev.Conn != "newer" {
			t.Errorf("bind: %+v, %v", prev, err)
		}
		if _, _, err := kept.Rebind(ctx, acct, dev, "newer", newer); !errors.Is(err, directory.ErrReplaced) {
			t.Errorf("the device has connected elsewhere: %v", err)
		}
	}
}
