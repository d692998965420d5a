package directorytest

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"switchboard/directory"
	"switchboard/directory/e164"
)

func numbers(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	if _, err := d.Resolve(ctx, number(t, 1)); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("resolve of a number that nobody has: %v", err)
	}
	acct := must(d.Register(ctx, number(t, 1)))(t)
	if acct.Number != number(t, 1) || !acct.Account.Valid() || acct.Created.IsZero() {
		t.Errorf("account = %+v", acct)
	}
	w.soon(t, "the number leads to the account", func() bool {
		got, err := d.Resolve(ctx, number(t, 1))
		return err == nil && got == acct.Account
	})
	if again := must(w.node("n2", nil).Register(ctx, number(t, 1)))(t); again.Account != acct.Account {
		t.Errorf("registered twice: %s and %s", acct.Account, again.Account)
	}
	if other := must(d.Register(ctx, number(t, 2)))(t); other.Account == acct.Account {
		t.Error("two numbers, one account")
	}
	if got := must(d.AccountOf(ctx, acct.Account))(t); got.Number != acct.Number {
		t.Errorf("account = %+v", got)
	}
	if _, err := d.Register(ctx, e164.Number{}); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("register of no number: %v", err)
	}
}

// Whoever registers the same number at the same moment gets the same account.
func registerRace(t *testing.T, w world) {
	a, b := w.node("n1", nil), w.node("n2", nil)
	got := make([]directory.Account, 32)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			rec, err := []Directory{a, b}[i%2].Register(t.Context(), number(t, 1))
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
	must(a.AccountOf(t.Context(), got[0]))(t)
}

func devices(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	if all := must(d.Devices(ctx, acct))(t); len(all) != 0 {
		t.Errorf("devices of a new account: %+v", all)
	}
	one := must(d.AddDevice(ctx, acct, "one", ""))(t)
	two := must(d.AddDevice(ctx, acct, "two", "ext"))(t)
	if one.Device != 1 || two.Device != 2 || one.Token.Generation != 1 {
		t.Errorf("devices = %+v, %+v", one, two)
	}
	if same := must(d.AddDevice(ctx, acct, "again", "ext"))(t); same.Device != two.Device || same.Name != "two" {
		t.Errorf("an external device was added twice: %+v", same)
	}
	w.soon(t, "both devices are listed, in order", func() bool {
		all := must(d.Devices(ctx, acct))(t)
		return len(all) == 2 && all[0].Name == "one" && all[1].External == "ext"
	})
	for range 2 { // the second time is no error
		if err := d.RemoveDevice(ctx, acct, two.Device); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.DeviceOf(ctx, acct, two.Device); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("a removed device: %v", err)
	}
	w.soon(t, "the removed device is not listed", func() bool { return len(must(d.Devices(ctx, acct))(t)) == 1 })
	if three := must(d.AddDevice(ctx, acct, "three", "ext"))(t); three.Device != 3 {
		t.Errorf("the number of a removed device was given again: %+v", three)
	}
}

func deviceRace(t *testing.T, w world) {
	a, b := w.node("n1", nil), w.node("n2", nil)
	acct := must(a.Register(t.Context(), number(t, 1)))(t).Account
	const n = 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[directory.Device]bool{}
	for i := range n {
		wg.Go(func() {
			rec, err := []Directory{a, b}[i%2].AddDevice(t.Context(), acct, fmt.Sprint(i), "")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[rec.Device] {
				t.Errorf("device %d was given twice", rec.Device)
			}
			seen[rec.Device] = true
		})
	}
	wg.Wait()
	w.soon(t, "all devices are listed", func() bool { return len(must(a.Devices(t.Context(), acct))(t)) == n })
}

// Whoever asks for the same external device at the same moment gets the same.
func externalRace(t *testing.T, w world) {
	a, b := w.node("n1", nil), w.node("n2", nil)
	acct := must(a.Register(t.Context(), number(t, 1)))(t).Account
	for round := range 2 {
		got := make([]directory.Device, 8)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				rec, err := []Directory{a, b}[i%2].AddDevice(t.Context(), acct, "x", "same")
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
		if got[0] != directory.Device(round+1) {
			t.Errorf("round %d gave device %d", round, got[0])
		}
		w.soon(t, "there is one device", func() bool { return len(must(a.Devices(t.Context(), acct))(t)) == 1 })
		if err := a.RemoveDevice(t.Context(), acct, got[0]); err != nil {
			t.Fatal(err)
		}
	}
}

func tooManyDevices(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	for range directory.MaxDevices {
		must(d.AddDevice(ctx, acct, "x", ""))(t)
	}
	w.soon(t, "the last device is listed", func() bool { return len(must(d.Devices(ctx, acct))(t)) == directory.MaxDevices })
	w.soon(t, "one more is refused", func() bool {
		_, err := d.AddDevice(ctx, acct, "x", "")
		return errors.Is(err, directory.ErrTooMany)
	})
	if err := d.RemoveDevice(ctx, acct, 1); err != nil {
		t.Fatal(err)
	}
	w.soon(t, "there is room again", func() bool {
		_, err := d.AddDevice(ctx, acct, "x", "")
		return err == nil
	})
}

func update(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	dev := must(d.AddDevice(ctx, acct, "x", "ext"))(t).Device
	rec := must(d.UpdateDevice(ctx, acct, dev, func(r *directory.DeviceRecord) error {
		r.Name, r.Device, r.External = "y", 7, "other"
		return nil
	}))(t)
	if got := must(w.node("n2", nil).DeviceOf(ctx, acct, dev))(t); got.Name != "y" || !reflect.DeepEqual(got, rec) {
		t.Errorf("returned %+v, kept %+v", rec, got)
	}
	if rec.Device != dev || rec.External != "ext" {
		t.Errorf("an update changed who the device is: %+v", rec)
	}
	refuse := errors.New("no")
	_, err := d.UpdateDevice(ctx, acct, dev, func(r *directory.DeviceRecord) error {
		r.Name = "z"
		return refuse
	})
	if got := must(d.DeviceOf(ctx, acct, dev))(t); err != refuse || got.Name != "y" {
		t.Errorf("a change that was refused: %v, device %+v", err, got)
	}
	if _, err := d.UpdateDevice(ctx, acct, 9, func(*directory.DeviceRecord) error { return nil }); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("update of no device: %v", err)
	}
}

func updateRace(t *testing.T, w world) {
	d := w.node("n1", nil)
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
}

// What is no account is nowhere, and does no harm.
func noAccount(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	for _, a := range []directory.Account{"", "zz", "*", "0000000000002", "000000000000\n", "0000000000*.>"} {
		if _, err := d.AccountOf(ctx, a); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("account %q: %v", a, err)
		}
		if _, err := d.AddDevice(ctx, a, "x", ""); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("device for account %q: %v", a, err)
		}
		if _, err := d.DeviceOf(ctx, a, 1); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("device of account %q: %v", a, err)
		}
		if err := d.RemoveDevice(ctx, a, 1); err != nil {
			t.Errorf("remove a device of account %q: %v", a, err)
		}
		all, err := d.Devices(ctx, a)
		bound, berr := d.Bindings(ctx, a)
		confirmed, cerr := d.BindingsConfirmed(ctx, a)
		p, perr := d.PresenceOf(ctx, a)
		if len(all)+len(bound)+len(confirmed) != 0 || p != (directory.Presence{}) || errors.Join(err, berr, cerr, perr) != nil {
			t.Errorf("account %q: %v %v %v %v, %v", a, all, bound, confirmed, p, errors.Join(err, berr, cerr, perr))
		}
		if did, err := d.Unbind(ctx, a, 1, 1); did || err != nil {
			t.Errorf("unbind of account %q: %v, %v", a, did, err)
		}
	}
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	if _, _, err := d.Bind(ctx, acct, 0, "c"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("bind of device 0: %v", err)
	}
	if _, _, err := d.Bind(ctx, "zz", 1, "c"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("bind of no account: %v", err)
	}
}
