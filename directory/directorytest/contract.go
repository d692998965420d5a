package directorytest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
)

// Directory is what the contract is about: a node's view.
type Directory interface {
	Incarnation() string
	Register(ctx context.Context, n e164.Number) (directory.AccountRecord, error)
	Resolve(ctx context.Context, n e164.Number) (directory.Account, error)
	AccountOf(ctx context.Context, a directory.Account) (directory.AccountRecord, error)
	AddDevice(ctx context.Context, a directory.Account, name, external string) (directory.DeviceRecord, error)
	DeviceOf(ctx context.Context, a directory.Account, dev directory.Device) (directory.DeviceRecord, error)
	Devices(ctx context.Context, a directory.Account) ([]directory.DeviceRecord, error)
	UpdateDevice(ctx context.Context, a directory.Account, dev directory.Device, change func(*directory.DeviceRecord) error) (directory.DeviceRecord, error)
	RemoveDevice(ctx context.Context, a directory.Account, dev directory.Device) error
	Bind(ctx context.Context, a directory.Account, dev directory.Device, conn string) (uint64, *directory.Binding, error)
	Unbind(ctx context.Context, a directory.Account, dev directory.Device, fence uint64) (bool, error)
	Bindings(ctx context.Context, a directory.Account) ([]directory.Binding, error)
	BindingsConfirmed(ctx context.Context, a directory.Account) ([]directory.Binding, error)
	PresenceOf(ctx context.Context, a directory.Account) (directory.Presence, error)
	Ask(ctx context.Context, node string, r directory.Request) ([]byte, error)
}

// Nodes opens nodes of one world. answer handles the requests to the node.
type Nodes func(name string, answer func(context.Context, directory.Request) ([]byte, error)) Directory

// Run tests the contract. open makes a new world for each test.
func Run(t *testing.T, open func(tb testing.TB) Nodes) {
	for name, f := range map[string]func(*testing.T, Nodes){
		"numbers":       numbers,
		"register race": registerRace,
		"devices":       devices,
		"device race":   deviceRace,
		"external race": externalRace,
		"update race":   updateRace,
		"fence":         fence,
		"presence":      presence,
		"ask":           ask,
		"ask in order":  askInOrder,
	} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

func number(t *testing.T, i int) e164.Number {
	t.Helper()
	n, err := e164.Parse(fmt.Sprintf("+1415555%04d", 100+i), "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func numbers(t *testing.T, nodes Nodes) {
	ctx, d := t.Context(), nodes("n1", nil)
	if _, err := d.Resolve(ctx, number(t, 1)); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("resolve of a number that nobody has: %v", err)
	}
	acct := must(d.Register(ctx, number(t, 1)))(t)
	if acct.Number != number(t, 1) || !acct.Account.Valid() {
		t.Errorf("account = %+v", acct)
	}
	if got := must(d.Resolve(ctx, number(t, 1)))(t); got != acct.Account {
		t.Errorf("resolve = %s, want %s", got, acct.Account)
	}
	if again := must(nodes("n2", nil).Register(ctx, number(t, 1)))(t); again.Account != acct.Account {
		t.Errorf("registered twice: %s and %s", acct.Account, again.Account)
	}
	if other := must(d.Register(ctx, number(t, 2)))(t); other.Account == acct.Account {
		t.Error("two numbers, one account")
	}
	if got := must(d.AccountOf(ctx, acct.Account))(t); got.Number != acct.Number {
		t.Errorf("account = %+v", got)
	}
	if _, err := d.AccountOf(ctx, "zz"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("account of no account: %v", err)
	}
}

func registerRace(t *testing.T, nodes Nodes) {
	a, b := nodes("n1", nil), nodes("n2", nil)
	got := make([]directory.Account, 32)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			d := a
			if i%2 == 1 {
				d = b
			}
			rec, err := d.Register(t.Context(), number(t, 1))
			if err != nil {
				t.Error(err)
			}
			got[i] = rec.Account
		})
	}
	wg.Wait()
	for _, acct := range got {
		if acct != got[0] {
			t.Fatalf("one number, several accounts: %v", got)
		}
	}
}

func devices(t *testing.T, nodes Nodes) {
	ctx, d := t.Context(), nodes("n1", nil)
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	if all := must(d.Devices(ctx, acct))(t); len(all) != 0 {
		t.Errorf("devices of a new account: %+v", all)
	}
	one := must(d.AddDevice(ctx, acct, "one", ""))(t)
	two := must(d.AddDevice(ctx, acct, "two", "ext"))(t)
	if same := must(d.AddDevice(ctx, acct, "again", "ext"))(t); same.Device != two.Device {
		t.Errorf("an external device was added twice: %+v", same)
	}
	if all := must(d.Devices(ctx, acct))(t); len(all) != 2 || all[0].Name != "one" || all[1].External != "ext" {
		t.Errorf("devices = %+v", all)
	}
	if err := d.RemoveDevice(ctx, acct, two.Device); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveDevice(ctx, acct, two.Device); err != nil {
		t.Errorf("removing it again: %v", err)
	}
	if _, err := d.DeviceOf(ctx, acct, two.Device); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("a removed device: %v", err)
	}
	if three := must(d.AddDevice(ctx, acct, "three", ""))(t); three.Device <= two.Device {
		t.Errorf("the name %d was given again", three.Device)
	}
	if got := must(d.DeviceOf(ctx, acct, one.Device))(t); got.Name != "one" || got.Token.Generation != 1 {
		t.Errorf("device = %+v", got)
	}
	for i := range directory.MaxDevices - 2 {
		must(d.AddDevice(ctx, acct, fmt.Sprint(i), ""))(t)
	}
	if _, err := d.AddDevice(ctx, acct, "more", ""); !errors.Is(err, directory.ErrTooMany) {
		t.Errorf("one device too many: %v", err)
	}
	if _, err := d.AddDevice(ctx, "0000000000zzz", "x", ""); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("a device of nobody: %v", err)
	}
}

func deviceRace(t *testing.T, nodes Nodes) {
	d := nodes("n1", nil)
	acct := must(d.Register(t.Context(), number(t, 1)))(t).Account
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := d.AddDevice(t.Context(), acct, "x", ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if all := must(d.Devices(t.Context(), acct))(t); len(all) != 8 {
		t.Errorf("%d devices, want 8", len(all))
	}
}

// Those who ask for the same external device at the same moment get the same.
func externalRace(t *testing.T, nodes Nodes) {
	a, b := nodes("n1", nil), nodes("n2", nil)
	acct := must(a.Register(t.Context(), number(t, 1)))(t).Account
	for round := range 2 {
		got := make([]directory.Device, 8)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				d := a
				if i%2 == 1 {
					d = b
				}
				rec, err := d.AddDevice(t.Context(), acct, "x", "same")
				if err != nil {
					t.Error(err)
				}
				got[i] = rec.Device
			})
		}
		wg.Wait()
		for _, d := range got {
			if d != got[0] {
				t.Fatalf("one external device, several of ours: %v", got)
			}
		}
		if all := must(a.Devices(t.Context(), acct))(t); len(all) != 1 {
			t.Fatalf("%d devices, want 1", len(all))
		}
		if err := a.RemoveDevice(t.Context(), acct, got[0]); err != nil {
			t.Fatal(err)
		}
		if got[0] != directory.Device(round+1) {
			t.Errorf("round %d gave device %d", round, got[0])
		}
	}
}

func updateRace(t *testing.T, nodes Nodes) {
	d := nodes("n1", nil)
	acct := must(d.Register(t.Context(), number(t, 1)))(t).Account
	dev := must(d.AddDevice(t.Context(), acct, "x", ""))(t).Device
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := d.UpdateDevice(t.Context(), acct, dev, func(r *directory.DeviceRecord) error {
				r.Token.Generation++
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := must(d.DeviceOf(t.Context(), acct, dev))(t); got.Token.Generation != 9 {
		t.Errorf("generation = %d, want 9: a change was lost", got.Token.Generation)
	}
	refuse := errors.New("no")
	if _, err := d.UpdateDevice(t.Context(), acct, dev, func(*directory.DeviceRecord) error { return refuse }); !errors.Is(err, refuse) {
		t.Errorf("a change that was refused: %v", err)
	}
}

// A late disconnect never removes a newer connection.
func fence(t *testing.T, nodes Nodes) {
	ctx, a, b := t.Context(), nodes("n1", nil), nodes("n2", nil)
	acct := must(a.Register(ctx, number(t, 1)))(t).Account
	dev := must(a.AddDevice(ctx, acct, "x", ""))(t).Device
	old, prev, err := a.Bind(ctx, acct, dev, "c1")
	if err != nil || prev != nil {
		t.Fatalf("first bind: %v, previous %+v", err, prev)
	}
	newer, prev, err := b.Bind(ctx, acct, dev, "c2")
	if err != nil || prev == nil || prev.Conn != "c1" || prev.Node != a.Incarnation() || newer <= old {
		t.Fatalf("second bind: %v, previous %+v, fences %d and %d", err, prev, old, newer)
	}
	if did := must(a.Unbind(ctx, acct, dev, old))(t); did {
		t.Error("a late disconnect removed the newer binding")
	}
	got := must(a.Bindings(ctx, acct))(t)
	if len(got) != 1 || got[0].Conn != "c2" || got[0].Node != b.Incarnation() || got[0].Fence != newer {
		t.Errorf("bindings = %+v", got)
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

func presence(t *testing.T, nodes Nodes) {
	ctx, d := t.Context(), nodes("n1", nil)
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	dev := must(d.AddDevice(ctx, acct, "x", ""))(t).Device
	if p := must(d.PresenceOf(ctx, acct))(t); p.Online || !p.LastSeen.IsZero() {
		t.Errorf("never connected: %+v", p)
	}
	f, _, err := d.Bind(ctx, acct, dev, "c1")
	if err != nil {
		t.Fatal(err)
	}
	if p := must(d.PresenceOf(ctx, acct))(t); !p.Online {
		t.Errorf("connected: %+v", p)
	}
	before := time.Now().Add(-time.Second)
	must(d.Unbind(ctx, acct, dev, f))(t)
	if p := must(d.PresenceOf(ctx, acct))(t); p.Online || p.LastSeen.Before(before) {
		t.Errorf("gone: %+v", p)
	}
}

func ask(t *testing.T, nodes Nodes) {
	a := nodes("n1", nil)
	b := nodes("n2", func(_ context.Context, r directory.Request) ([]byte, error) {
		if r.Kind == "refuse" {
			return nil, errors.New("no such thing")
		}
		return []byte(r.Kind + " " + string(r.Account) + " " + string(r.Data)), nil
	})
	r := directory.Request{Kind: "tell", Account: "0000000000001", Data: []byte("x")}
	if got := must(a.Ask(t.Context(), b.Incarnation(), r))(t); string(got) != "tell 0000000000001 x" {
		t.Errorf("answer = %q", got)
	}
	r.Kind = "refuse"
	if _, err := a.Ask(t.Context(), b.Incarnation(), r); err == nil || errors.Is(err, directory.ErrGone) {
		t.Errorf("refused with %v", err)
	}
	for _, node := range []string{"nobody", "", "no.body", "*"} {
		if _, err := a.Ask(t.Context(), node, r); !errors.Is(err, directory.ErrGone) {
			t.Errorf("asking %q: %v", node, err)
		}
	}
}

func askInOrder(t *testing.T, nodes Nodes) {
	var got []byte
	a := nodes("n1", nil)
	b := nodes("n2", func(_ context.Context, r directory.Request) ([]byte, error) {
		got = append(got, r.Data...) // one account: never two at a time
		return nil, nil
	})
	for i := range 100 {
		must(a.Ask(t.Context(), b.Incarnation(), directory.Request{Kind: "tell", Account: "0000000000001", Data: []byte{byte(i)}}))(t)
	}
	for i, v := range got {
		if int(v) != i {
			t.Fatalf("request %d came at place %d", v, i)
		}
	}
}
