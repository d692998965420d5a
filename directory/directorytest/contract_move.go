package directorytest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"switchboard/directory"
	"switchboard/directory/e164"
)

func move(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	other := must(d.Register(ctx, number(t, 2)))(t).Account
	dev := must(d.AddDevice(ctx, acct, "x", ""))(t).Device
	hide := func(s *directory.Settings) error { s.Discoverable = directory.Nobody; return nil }
	must(d.UpdateSettings(ctx, acct, hide))(t)

	if _, err := d.MoveNumber(ctx, acct, number(t, 2)); !errors.Is(err, directory.ErrNumberTaken) {
		t.Errorf("to a number that another has: %v", err)
	}
	if got := must(d.AccountOf(ctx, acct))(t); got.Number != number(t, 1) {
		t.Errorf("refused, and moved to %v", got.Number)
	}
	for _, i := range []int{3, 3, 4, 1, 3} {
		rec := must(d.MoveNumber(ctx, acct, number(t, i)))(t)
		if got := must(d.AccountOf(ctx, acct))(t); got.Number != number(t, i) || rec.Number != number(t, i) || got.LastDevice != dev {
			t.Errorf("moved to %v: %+v, answer %+v", number(t, i), got, rec)
		}
		for _, n := range []int{1, 3, 4} {
			w.soon(t, "it is reached by the new number alone", func() bool {
				a, err := d.Resolve(ctx, number(t, n))
				return n == i && a == acct || n != i && errors.Is(err, directory.ErrNotFound)
			})
		}
	}
	must(d.DeviceOf(ctx, acct, dev))(t)
	if a := must(d.LookUp(ctx, []e164.Number{number(t, 3)}))(t)[0]; a != "" {
		t.Errorf("who is not to be found is found by the new number: %q", a)
	}

	again := must(d.Register(ctx, number(t, 1)))(t)
	if again.Account == acct || again.Account == other || again.Number != number(t, 1) {
		t.Errorf("who gets the old number gets %+v", again)
	}
	if _, err := d.MoveNumber(ctx, acct, number(t, 1)); !errors.Is(err, directory.ErrNumberTaken) {
		t.Errorf("back to the number that another has now: %v", err)
	}
	if must(d.Register(ctx, number(t, 3)))(t).Account != acct {
		t.Error("who registers with the new number gets another account")
	}
	for a, n := range map[directory.Account]e164.Number{nobody: number(t, 9), "": number(t, 9), "x": number(t, 9), acct: {}} {
		if _, err := d.MoveNumber(ctx, a, n); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("%q to %v: %v", a, n, err)
		}
	}
}

// However many want a number at once, one gets it: those who move there, and
// those who register with it.
func moveRace(t *testing.T, w world) {
	ctx := t.Context()
	nodes := []Directory{w.node("n1", nil), w.node("n2", nil)}
	var accounts []directory.Account
	for i := range 6 {
		accounts = append(accounts, must(nodes[0].Register(ctx, number(t, i)))(t).Account)
	}
	goal := number(t, 50)
	moved := make([]bool, len(accounts))
	made := make([]directory.Account, 2)
	var wg sync.WaitGroup
	for i, a := range accounts {
		wg.Go(func() {
			_, err := nodes[i%2].MoveNumber(ctx, a, goal)
			moved[i] = err == nil
			if err != nil && !errors.Is(err, directory.ErrNumberTaken) {
				t.Errorf("move: %v", err)
			}
		})
	}
	for i := range made {
		wg.Go(func() {
			rec, err := nodes[i].Register(ctx, goal)
			if err != nil || rec.Number != goal {
				t.Errorf("register: %+v, %v", rec, err)
			}
			made[i] = rec.Account
		})
	}
	wg.Wait()
	has := must(nodes[0].Register(ctx, goal))(t).Account
	if made[0] != has || made[1] != has {
		t.Errorf("%s has the number, and registered with it have %s", has, made)
	}
	for i, a := range accounts {
		rec := must(nodes[1].AccountOf(ctx, a))(t)
		if moved[i] != (a == has) || (rec.Number == goal) != (a == has) {
			t.Errorf("%s has the number; %s moved: %v, record %v", has, a, moved[i], rec.Number)
		}
		if a != has && must(nodes[0].Register(ctx, number(t, i)))(t).Account != a {
			t.Errorf("%s lost its own number", a)
		}
	}
	w.soon(t, "the number leads to it", func() bool { a, _ := nodes[1].Resolve(ctx, goal); return a == has })
}

func deleted(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	dev := must(d.AddDevice(ctx, acct, "x", "name"))(t).Device
	friend := must(d.Register(ctx, number(t, 2)))(t).Account
	if _, _, err := d.Bind(ctx, acct, dev, "c"); err != nil {
		t.Fatal(err)
	}
	must(0, errors.Join(d.AddContacts(ctx, acct, []e164.Number{number(t, 2)}), d.Block(ctx, acct, number(t, 3)), d.AddContacts(ctx, friend, []e164.Number{number(t, 1)})))(t)
	for range 2 {
		if err := d.DeleteAccount(ctx, acct); err != nil {
			t.Fatal(err)
		}
		w.soon(t, "the number leads nowhere", func() bool {
			_, err := d.Resolve(ctx, number(t, 1))
			return errors.Is(err, directory.ErrNotFound) && must(d.LookUp(ctx, []e164.Number{number(t, 1)}))(t)[0] == ""
		})
		w.soon(t, "its devices are gone", func() bool { return len(must(d.Devices(ctx, acct))(t)) == 0 })
		w.soon(t, "it is not online", func() bool {
			return must(d.PresenceOf(ctx, acct))(t) == directory.Presence{} && len(must(d.Bindings(ctx, acct))(t)) == 0
		})
	}
	notThere(t, ctx, d, acct, dev)
	again := must(d.Register(ctx, number(t, 1)))(t)
	if again.Account == acct || again.LastDevice != 0 {
		t.Errorf("who registers again gets %+v", again)
	}
	w.soon(t, "nothing is left of it", func() bool {
		contacts, blocks, err := d.KnownAndBlocked(ctx, again.Account)
		return contacts+blocks == 0 && err == nil
	})
	w.soon(t, "who knows the number knows it still", func() bool {
		return must(d.Relation(ctx, friend, again.Account, number(t, 1)))(t).Contact
	})
	for _, a := range []directory.Account{nobody, "", "x"} {
		if err := d.DeleteAccount(ctx, a); err != nil {
			t.Errorf("nobody: %v", err)
		}
	}
}

// notThere tries what can be done with an account that is not there.
func notThere(t *testing.T, ctx context.Context, d Directory, acct directory.Account, dev directory.Device) {
	t.Helper()
	for what, do := range map[string]func() error{
		"account":  func() error { _, err := d.AccountOf(ctx, acct); return err },
		"device":   func() error { _, err := d.DeviceOf(ctx, acct, dev); return err },
		"add":      func() error { _, err := d.AddDevice(ctx, acct, "x", "name"); return err },
		"bind":     func() error { _, _, err := d.Bind(ctx, acct, dev, "c"); return err },
		"contacts": func() error { return d.AddContacts(ctx, acct, []e164.Number{number(t, 4)}) },
		"block":    func() error { return d.Block(ctx, acct, number(t, 4)) },
		"move":     func() error { _, err := d.MoveNumber(ctx, acct, number(t, 5)); return err },
		"relation": func() error { _, err := d.Relation(ctx, acct, nobody, number(t, 4)); return err },
		"settings": func() error {
			_, err := d.UpdateSettings(ctx, acct, func(*directory.Settings) error { return nil })
			return err
		},
		"update": func() error {
			_, err := d.UpdateDevice(ctx, acct, dev, func(*directory.DeviceRecord) error { return nil })
			return err
		},
	} {
		w := world{lags: true} // a relation may be read from a replica
		w.soon(t, what+" says that it is not there", func() bool { return errors.Is(do(), directory.ErrNotFound) })
	}
}

// Whatever is done with an account while it is deleted, nothing of it stays.
func deleteRace(t *testing.T, w world) {
	ctx := t.Context()
	a, b := w.node("n1", nil), w.node("n2", nil)
	for round := range 4 {
		mine, goal := number(t, 10+round), number(t, 20+round)
		acct := must(a.Register(ctx, mine))(t).Account
		dev := must(a.AddDevice(ctx, acct, "x", ""))(t).Device
		var wg sync.WaitGroup
		for _, do := range []func() error{
			func() error { return a.DeleteAccount(ctx, acct) },
			func() error { return b.DeleteAccount(ctx, acct) },
			func() error { _, err := b.AddDevice(ctx, acct, "y", ""); return err },
			func() error { _, _, err := b.Bind(ctx, acct, dev, "c"); return err },
			func() error { return b.AddContacts(ctx, acct, []e164.Number{goal}) },
			func() error { _, err := b.MoveNumber(ctx, acct, goal); return err },
			func() error { return b.RemoveDevice(ctx, acct, dev) },
			func() error {
				_, err := b.UpdateDevice(ctx, acct, dev, func(r *directory.DeviceRecord) error { r.Name = "z"; return nil })
				return err
			},
			func() error {
				_, err := b.UpdateSettings(ctx, acct, func(s *directory.Settings) error { s.Discoverable = directory.Nobody; return nil })
				return err
			},
		} {
			wg.Go(func() {
				if err := do(); err != nil && !errors.Is(err, directory.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.soon(t, "no device", func() bool { return len(must(a.Devices(ctx, acct))(t)) == 0 })
		w.soon(t, "no binding", func() bool { return len(must(a.Bindings(ctx, acct))(t)) == 0 })
		notThere(t, ctx, a, acct, dev)
		for _, n := range []e164.Number{mine, goal} {
			if again := must(b.Register(ctx, n))(t); again.Account == acct || again.Number != n {
				t.Errorf("who registers with its number gets %+v", again)
			}
		}
	}
}

// An account that registered before its country changed its plan is found by the
// number as it is now, and the other way round.
func renumbered(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	var old, now e164.Number
	must(0, errors.Join(json.Unmarshal([]byte(`"+22990011234"`), &old), json.Unmarshal([]byte(`"+2290190011234"`), &now)))(t)
	acct := must(d.Register(ctx, old))(t).Account
	owner := must(d.Register(ctx, number(t, 1)))(t).Account
	for _, n := range []e164.Number{old, now} {
		w.soon(t, "both forms lead to it", func() bool {
			a, err := d.Resolve(ctx, n)
			return err == nil && a == acct && must(d.LookUp(ctx, []e164.Number{number(t, 2), n, number(t, 1)}))(t)[1] == acct
		})
	}
	must(0, errors.Join(d.AddContacts(ctx, owner, []e164.Number{now}), d.Block(ctx, owner, now)))(t)
	w.soon(t, "it is known, and blocked, by both", func() bool {
		r := must(d.Relation(ctx, owner, nobody, old))(t)
		return r.Contact && r.Blocked
	})
	for _, n := range []e164.Number{now, now, old} {
		if again := must(d.Register(ctx, n))(t); again.Account != acct || again.Number != n {
			t.Errorf("who registers with another form gets %+v", again)
		}
	}
	must(d.MoveNumber(ctx, acct, now))(t)
	for _, n := range []e164.Number{old, now} {
		w.soon(t, "both forms lead to it after it took the new one", func() bool { a, _ := d.Resolve(ctx, n); return a == acct })
	}
}
