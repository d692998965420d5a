package directorytest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/directory"
)

// A late disconnect never removes a newer connection.
func fence(t *testing.T, w world) {
	ctx, a, b := t.Context(), w.node("n1", nil), w.node("n2", nil)
	acct := must(a.Register(ctx, number(t, 1)))(t).Account
	dev := must(a.AddDevice(ctx, acct, "x", ""))(t).Device
	old, prev, err := a.Bind(ctx, acct, dev, "c1")
	if err != nil || prev != nil {
		t.Fatalf("first bind: %v, previous %+v", err, prev)
	}
	newer, prev, err := b.Bind(ctx, acct, dev, "c2")
	if err != nil || newer <= old {
		t.Fatalf("second bind: %v, fences %d and %d", err, old, newer)
	}
	if prev == nil && !w.lags || prev != nil && (prev.Conn != "c1" || prev.Node != a.Incarnation() || prev.Fence != old) {
		t.Errorf("previous = %+v", prev)
	}
	if did := must(a.Unbind(ctx, acct, dev, old))(t); did {
		t.Error("a late disconnect removed the newer binding")
	}
	is := func(all []directory.Binding) bool {
		return len(all) == 1 && all[0].Conn == "c2" && all[0].Node == b.Incarnation() && all[0].Fence == newer &&
			all[0].Account == acct && all[0].Device == dev && !all[0].Since.IsZero()
	}
	w.soon(t, "the newer binding is listed", func() bool { return is(must(a.Bindings(ctx, acct))(t)) })
	if got := must(a.BindingsConfirmed(ctx, acct))(t); !is(got) {
		t.Errorf("confirmed = %+v", got)
	}
	for _, fence := range []uint64{0, newer + 1} {
		if did := must(b.Unbind(ctx, acct, dev, fence))(t); did {
			t.Errorf("fence %d removed the binding of fence %d", fence, newer)
		}
	}
	if did := must(b.Unbind(ctx, acct, dev, newer))(t); !did {
		t.Error("the newest binding was not removed")
	}
	if did := must(b.Unbind(ctx, acct, dev, newer))(t); did {
		t.Error("a binding was removed twice")
	}
	if got := must(a.BindingsConfirmed(ctx, acct))(t); len(got) != 0 {
		t.Errorf("bindings = %+v", got)
	}
}

// Nodes know of each other, and hear at once that one is draining.
func nodes(t *testing.T, w world) {
	a, b := w.node("n1", nil), w.node("n2", nil)
	of := func(d Directory, incarnation string) *directory.NodeInfo {
		for _, n := range d.NodeList() {
			if n.Incarnation == incarnation {
				return &n
			}
		}
		return nil
	}
	for _, d := range []Directory{a, b} {
		w.eventually(t, "both nodes are listed", func() bool {
			list := d.NodeList()
			return len(list) == 2 && list[0].Node == "n1" && list[1].Node == "n2"
		})
	}
	b.SetDraining(true)
	if n := of(b, b.Incarnation()); n == nil || !n.Draining {
		t.Errorf("to itself, the draining node is %+v", n)
	}
	w.eventually(t, "the draining is known", func() bool { n := of(a, b.Incarnation()); return n != nil && n.Draining })
	b.SetDraining(false)
	w.eventually(t, "its end is known", func() bool { n := of(a, b.Incarnation()); return n != nil && !n.Draining })
}

// However connects and disconnects of a device cross, the newest connect wins.
func bindRace(t *testing.T, w world) {
	ctx, nodes := t.Context(), []Directory{w.node("n1", nil), w.node("n2", nil)}
	acct := must(nodes[0].Register(ctx, number(t, 1)))(t).Account
	dev := must(nodes[0].AddDevice(ctx, acct, "x", ""))(t).Device
	fences := make([]uint64, 16)
	var wg sync.WaitGroup
	for i := range fences {
		wg.Go(func() {
			d := nodes[i%2]
			f, _, err := d.Bind(ctx, acct, dev, fmt.Sprint(i))
			if err != nil {
				t.Error(err)
				return
			}
			fences[i] = f
			if i%4 == 0 {
				return // stays
			}
			if _, err := d.Unbind(ctx, acct, dev, f); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	newest := slices.Max(fences)
	stays := slices.Index(fences, newest)%4 == 0
	got := must(nodes[1].BindingsConfirmed(ctx, acct))(t)
	switch {
	case stays && (len(got) != 1 || got[0].Fence != newest):
		t.Errorf("the newest binding, %d, should be there: %+v", newest, got)
	case !stays && len(got) != 0:
		t.Errorf("the newest binding, %d, was removed, and there is %+v", newest, got)
	}
}

func presence(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	one := must(d.AddDevice(ctx, acct, "one", ""))(t).Device
	two := must(d.AddDevice(ctx, acct, "two", ""))(t).Device
	if p := must(d.PresenceOf(ctx, acct))(t); p.Online || !p.LastSeen.IsZero() {
		t.Errorf("never connected: %+v", p)
	}
	online := func() bool { return must(d.PresenceOf(ctx, acct))(t).Online }
	f1, _, err := d.Bind(ctx, acct, one, "c1")
	if err != nil {
		t.Fatal(err)
	}
	f2, _, err := d.Bind(ctx, acct, two, "c2")
	if err != nil {
		t.Fatal(err)
	}
	w.soon(t, "two devices are connected", func() bool { return online() && len(must(d.Bindings(ctx, acct))(t)) == 2 })
	before := time.Now().Add(-time.Second)
	must(d.Unbind(ctx, acct, one, f1))(t)
	w.soon(t, "one of two devices left", func() bool { return online() && len(must(d.Bindings(ctx, acct))(t)) == 1 })
	must(d.Unbind(ctx, acct, two, f2))(t)
	w.soon(t, "both left", func() bool { return !online() })
	if p := must(d.PresenceOf(ctx, acct))(t); p.LastSeen.Before(before) {
		t.Errorf("gone: %+v", p)
	}
}

// someone is an account that requests are about; it need not be there.
const someone directory.Account = "0000000000002"

func ask(t *testing.T, w world) {
	a := w.node("n1", nil)
	b := w.node("n2", func(_ context.Context, r directory.Request) ([]byte, error) {
		if r.Kind == "refuse" {
			return nil, errors.New("no such thing\r\nhere")
		}
		return []byte(r.Kind + " " + string(r.Account) + " " + string(r.Data)), nil
	})
	r := directory.Request{Kind: "tell", Account: someone, Data: []byte("x")}
	if got := must(a.Ask(t.Context(), b.Incarnation(), r))(t); string(got) != "tell 0000000000002 x" {
		t.Errorf("answer = %q", got)
	}
	toNode := directory.Request{Kind: "drain", Data: []byte("x")}
	if got := must(a.Ask(t.Context(), b.Incarnation(), toNode))(t); string(got) != "drain  x" {
		t.Errorf("answer to a request of no account = %q", got)
	}
	r.Kind = "refuse"
	if _, err := a.Ask(t.Context(), b.Incarnation(), r); err == nil || errors.Is(err, directory.ErrGone) || errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("refused with %v", err)
	}
	for _, node := range []string{"nobody", "", "no.body", "*", "n2 x"} {
		if _, err := a.Ask(t.Context(), node, r); !errors.Is(err, directory.ErrGone) {
			t.Errorf("asking %q: %v", node, err)
		}
	}
	for _, account := range []directory.Account{"a.b", "-", "*", "000000000000"} {
		r.Account = account
		if _, err := a.Ask(t.Context(), b.Incarnation(), r); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("asking about account %q: %v", account, err)
		}
	}
}

// The requests of one account are handled one at a time, as each node made
// them.
func oneAccountInOrder(t *testing.T, w world) {
	var inside atomic.Int32
	var got [2][]byte
	b := w.node("n2", func(_ context.Context, r directory.Request) ([]byte, error) {
		if inside.Add(1) > 1 {
			t.Error("two requests of an account at a time")
		}
		got[r.Data[0]] = append(got[r.Data[0]], r.Data[1]) // races if they are
		for range 10 {
			runtime.Gosched()
		}
		inside.Add(-1)
		return nil, nil
	})
	const n = 50
	var wg sync.WaitGroup
	for i, name := range []string{"n1", "n3"} {
		d := w.node(name, nil)
		wg.Go(func() {
			for j := range n {
				if _, err := d.Ask(t.Context(), b.Incarnation(), directory.Request{Kind: "tell", Account: someone, Data: []byte{byte(i), byte(j)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, got := range got {
		if len(got) != n || !slices.IsSorted(got) {
			t.Errorf("%d requests came as %v", n, got)
		}
	}
}

// A slow account does not hold up the others.
func accountsInParallel(t *testing.T, w world) {
	var inside atomic.Int32
	two := make(chan struct{})
	b := w.node("n2", func(ctx context.Context, r directory.Request) ([]byte, error) {
		if inside.Add(1) == 2 {
			close(two)
		}
		select {
		case <-two:
		case <-ctx.Done():
		}
		return nil, nil
	})
	a := w.node("n1", nil)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			acct := directory.Account(fmt.Sprintf("%012d0", i))
			if _, err := a.Ask(t.Context(), b.Incarnation(), directory.Request{Kind: "tell", Account: acct}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
