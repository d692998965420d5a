package directory_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
)

// town is a directory of two nodes: one is cut short or interrupted, the other
// does meanwhile and afterwards what others do.
type town struct {
	slow, other *directory.Directory
	made        int
}

func newTown(t *testing.T) *town {
	n := directorytest.NATS(t)
	w := &town{slow: directorytest.OpenOnly(t, n, "slow", nil), other: directorytest.Open(t, n, "other", nil)}
	directory.Alive(w.slow)
	return w
}

// number is one that has not been used yet.
func (w *town) number(t *testing.T) e164.Number {
	t.Helper()
	n, err := e164.Parse(fmt.Sprintf("+1212555%04d", w.made), "")
	if err != nil {
		t.Fatal(err)
	}
	w.made++
	return n
}

// story is an account that something happens to: it has a device, is connected,
// knows somebody, and may move to a number that is free or was somebody's.
type story struct {
	*town
	a        directory.Account
	dev      directory.Device
	fence    uint64
	from, to e164.Number
	peer     directory.Account // another account
	bond     e164.Number       // the peer's number
	shy      bool              // it may be hidden though its settings do not say so
}

func (w *town) story(t *testing.T, free bool) *story {
	t.Helper()
	ctx := t.Context()
	s := &story{town: w, from: w.number(t), to: w.number(t), bond: w.number(t)}
	if !free {
		rec, err := w.other.Register(ctx, s.to)
		if err == nil {
			err = w.other.DeleteAccount(ctx, rec.Account)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	rec, err := w.other.Register(ctx, s.from)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := w.other.Register(ctx, s.bond)
	if err != nil {
		t.Fatal(err)
	}
	s.a, s.peer = rec.Account, peer.Account
	dev, err := w.other.AddDevice(ctx, s.a, "phone", "name")
	if err != nil {
		t.Fatal(err)
	}
	s.dev = dev.Device
	if s.fence, _, err = w.other.Bind(ctx, s.a, s.dev, "c"); err != nil {
		t.Fatal(err)
	}
	if err := w.other.AddContacts(ctx, s.a, []e164.Number{s.bond}); err != nil {
		t.Fatal(err)
	}
	return s
}

// hide has the account not be found.
func (s *story) hide(t *testing.T) {
	t.Helper()
	if err := settle(directory.Nobody)(t.Context(), s.other, s); err != nil {
		t.Fatal(err)
	}
}

// deed is what somebody does to the account of a story.
type deed struct {
	name string
	do   func(ctx context.Context, d *directory.Directory, s *story) error
}

var deeds = []deed{
	{"move", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.MoveNumber(ctx, s.a, s.to)
		return err
	}},
	{"move back", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.MoveNumber(ctx, s.a, s.from)
		return err
	}},
	{"move of another to the number", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.MoveNumber(ctx, s.peer, s.to)
		return err
	}},
	{"move of another to the old number", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.MoveNumber(ctx, s.peer, s.from)
		return err
	}},
	{"register with the number", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.Register(ctx, s.to)
		return err
	}},
	{"register with the old number", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.Register(ctx, s.from)
		return err
	}},
	{"delete", func(ctx context.Context, d *directory.Directory, s *story) error {
		return d.DeleteAccount(ctx, s.a)
	}},
	{"read", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.AccountOf(ctx, s.a)
		return err
	}},
	{"hide", settle(directory.Nobody)},
	{"show", settle(directory.Everyone)},
	{"add device", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.AddDevice(ctx, s.a, "another", "another")
		return err
	}},
	{"add the same device", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.AddDevice(ctx, s.a, "phone", "name")
		return err
	}},
	{"update device", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.UpdateDevice(ctx, s.a, s.dev, func(r *directory.DeviceRecord) error { r.Name += "!"; return nil })
		return err
	}},
	{"remove device", func(ctx context.Context, d *directory.Directory, s *story) error {
		return d.RemoveDevice(ctx, s.a, s.dev)
	}},
	{"bind", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, _, err := d.Bind(ctx, s.a, s.dev, "d")
		return err
	}},
	{"rebind", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, _, err := d.Rebind(ctx, s.a, s.dev, "c", time.Now())
		return err
	}},
	{"unbind", func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.Unbind(ctx, s.a, s.dev, s.fence)
		return err
	}},
	{"note last seen", func(ctx context.Context, d *directory.Directory, s *story) error {
		return directory.NoteSeen(ctx, d, s.a, time.Now())
	}},
	{"block", func(ctx context.Context, d *directory.Directory, s *story) error {
		return d.Block(ctx, s.a, s.bond)
	}},
	{"contacts of another", func(ctx context.Context, d *directory.Directory, s *story) error {
		return d.AddContacts(ctx, s.peer, []e164.Number{s.from})
	}},
}

var everyDeed = flag.Bool("deeds", false, "try all deeds in the middle of all deeds, not only those that should mind")

// telling reports whether one deed in the middle of another tells most.
func telling(slow, quick deed) bool {
	switch {
	case slow.grave():
		return quick.grave() || slow.name == "move" || slow.name == "delete"
	default:
		return quick.name == "move" || quick.name == "delete"
	}
}

// grave reports whether a deed decides who has a number, or whether the account
// is there.
func (d deed) grave() bool {
	return strings.Contains(d.name, "move") && d.name != "remove device" || slices.Contains([]string{"delete", "hide", "show"}, d.name)
}

func settle(who directory.Audience) func(context.Context, *directory.Directory, *story) error {
	return func(ctx context.Context, d *directory.Directory, s *story) error {
		_, err := d.UpdateSettings(ctx, s.a, func(c *directory.Settings) error { c.Discoverable = who; return nil })
		return err
	}
}

// expected are the errors that a deed may end with when others do theirs.
func expected(err error) bool {
	return err == nil || errors.Is(err, directory.ErrNotFound) || errors.Is(err, directory.ErrNumberTaken) || errors.Is(err, directory.ErrReplaced)
}

// right checks what always holds once nothing is under way.
func (s *story) right(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for _, n := range []e164.Number{s.from, s.to, s.bond} {
		a, hidden, err := directory.LeadsTo(ctx, s.other, n)
		if err != nil {
			t.Fatal(err)
		}
		if a == "" {
			continue
		}
		rec, unfinished, err := directory.Unfinished(ctx, s.other, a)
		switch {
		case err != nil:
			t.Errorf("%v leads to an account: %v", n, err)
		case unfinished:
			t.Errorf("%v leads to an account that is not done: %+v", n, rec)
		case rec.Number != n:
			t.Errorf("%v leads to an account that has %v", n, rec.Number)
		case hidden != (rec.Settings.Discoverable == directory.Nobody) && !(hidden && s.shy):
			t.Errorf("%v is hidden: %v; the account says %+v", n, hidden, rec.Settings)
		}
	}
	for _, a := range []directory.Account{s.a, s.peer} {
		rec, err := s.other.AccountOf(ctx, a)
		if errors.Is(err, directory.ErrNotFound) {
			left, err := directory.Remains(ctx, s.other, a)
			if err != nil || len(left) > 0 {
				t.Errorf("of a deleted account there is something in %v, %v", left, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := directory.LeadsTo(ctx, s.other, rec.Number); got != a || err != nil {
			t.Errorf("the number of %s, %v, leads to %q, %v", a, rec.Number, got, err)
		}
		if _, err := s.other.DeviceOf(ctx, a, s.dev); a == s.a && err != nil && !errors.Is(err, directory.ErrNotFound) {
			t.Error(err)
		}
	}
}

// Whatever somebody does before or after any write of somebody else's, what is
// right stays right.
func TestDeedsInTheMiddleOfDeeds(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	for _, slow := range deeds {
		for _, quick := range deeds {
			if !telling(slow, quick) && !*everyDeed {
				continue
			}
			t.Run(slow.name+"/"+quick.name, func(t *testing.T) {
				for at := 1; ; at++ {
					s := w.story(t, at/2%2 == 0)
					if slow.name == "show" || quick.name == "show" {
						s.hide(t)
					}
					if !s.meet(t, slow, quick, at) {
						return
					}
				}
			})
		}
	}
}

// meet has the quick deed happen at a moment of the slow one. It reports false if
// the slow one does not last as long.
func (s *story) meet(t *testing.T, slow, quick deed, at int) (met bool) {
	t.Helper()
	var qerr error
	mend := directory.During(s.slow, func(moment int) {
		if moment == at {
			met, qerr = true, quick.do(t.Context(), s.other, s)
		}
	})
	err := slow.do(t.Context(), s.slow, s)
	mend()
	if !expected(err) || !expected(qerr) {
		t.Errorf("%v, and %v", err, qerr)
	}
	s.right(t)
	if t.Failed() {
		t.Fatalf("at moment %d", at)
	}
	return met
}

// Whichever write a deed is cut short before, or its answer is lost: reading the
// account, doing it again, and somebody else who gets the number, each make
// right what is not.
func TestDeedsCutShort(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	for _, cut := range deeds {
		for _, next := range deeds {
			switch {
			case next.name == cut.name, next.name == "read", next.name == "delete", next.name == "register with the number":
			default:
				continue
			}
			if !cut.grave() && !*everyDeed {
				continue
			}
			t.Run(cut.name+"/"+next.name, func(t *testing.T) {
				for at, done := 1, false; !done; at++ {
					for _, lost := range []bool{false, true} {
						s := w.story(t, at%2 == 0)
						mend := directory.Break(w.slow, at, lost)
						err := cut.do(t.Context(), w.slow, s)
						if n := mend(); n < at {
							done = true
						} else if err == nil {
							t.Errorf("write %d failed, and nobody heard of it", at)
						}
						s.shy = cut.name == "hide" // once more would make it right
						s.midway(t, cut.name)
						if err := next.do(t.Context(), w.other, s); !expected(err) {
							t.Errorf("next: %v", err)
						}
						s.recovered(t)
						s.right(t)
						if t.Failed() {
							t.Fatalf("at write %d, lost %v", at, lost)
						}
					}
				}
			})
		}
	}
}

// midway checks what holds for others even while something is cut short: who
// calls the account's number reaches it, as long as nobody deletes it.
func (s *story) midway(t *testing.T, cut string) {
	t.Helper()
	if cut == "delete" {
		return
	}
	rec, _, err := directory.Unfinished(t.Context(), s.other, s.a)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := s.other.Resolve(t.Context(), rec.Number); a != s.a || err != nil {
		t.Errorf("the account is not reached by its number: %q, %v", a, err)
	}
}

// recovered reads the accounts, as their devices' next connections do.
func (s *story) recovered(t *testing.T) {
	t.Helper()
	for _, a := range []directory.Account{s.a, s.peer} {
		if _, err := s.other.AccountOf(t.Context(), a); !expected(err) {
			t.Error(err)
		}
	}
}
