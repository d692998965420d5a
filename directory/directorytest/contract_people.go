package directorytest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"switchboard/directory"
	"switchboard/directory/e164"
)

const nobody directory.Account = "0000000000009"

func contacts(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	owner := must(d.Register(ctx, number(t, 1)))(t).Account
	peer := must(d.Register(ctx, number(t, 2)))(t).Account
	knows := func(i int) bool { return must(d.Relation(ctx, owner, peer, number(t, i)))(t).Contact }
	if knows(2) {
		t.Error("a contact at first")
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(d.AddContacts(ctx, owner, []e164.Number{number(t, 2), number(t, 3), number(t, 2)}))
	do(d.AddContacts(ctx, owner, nil))
	w.soon(t, "added", func() bool { return knows(2) && knows(3) && !knows(4) })
	do(d.Block(ctx, owner, number(t, 5)))
	for a, want := range map[directory.Account][2]int{owner: {2, 1}, peer: {}, nobody: {}} {
		contacts, blocks, err := d.KnownAndBlocked(ctx, a)
		if do(err); contacts != want[0] || blocks != want[1] {
			t.Errorf("%d contacts and %d blocks are counted, want %v", contacts, blocks, want)
		}
	}
	if _, _, err := d.KnownAndBlocked(ctx, "x"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("those of what is no account: %v", err)
	}
	if must(d.Relation(ctx, peer, owner, number(t, 1)))(t).Contact {
		t.Error("the one who is known knows, too")
	}
	do(d.RemoveContacts(ctx, owner, []e164.Number{number(t, 3), number(t, 9)}))
	w.soon(t, "one removed", func() bool { return knows(2) && !knows(3) })
	do(d.SetContacts(ctx, owner, []e164.Number{number(t, 4)}))
	w.soon(t, "replaced", func() bool { return !knows(2) && knows(4) })
	do(d.SetContacts(ctx, owner, nil))
	w.soon(t, "none left", func() bool { return !knows(4) })

	var many []e164.Number
	for i := range directory.MaxContacts {
		n, err := e164.Parse(fmt.Sprintf("+1212555%04d", i), "")
		if err != nil {
			n, err = e164.Parse(fmt.Sprintf("+1213556%04d", i), "")
		}
		do(err)
		many = append(many, n)
	}
	do(d.AddContacts(ctx, owner, many))
	if err := d.AddContacts(ctx, owner, []e164.Number{number(t, 2)}); !errors.Is(err, directory.ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
	do(d.AddContacts(ctx, owner, many[:1])) // known already
	w.soon(t, "as many as may be", func() bool {
		return !knows(2) && must(d.Relation(ctx, owner, peer, many[directory.MaxContacts-1]))(t).Contact
	})
	for _, a := range []directory.Account{nobody, "", "x"} {
		if err := d.AddContacts(ctx, a, many[:1]); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("contacts of nobody: %v", err)
		}
		if _, err := d.Relation(ctx, a, peer, number(t, 2)); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("relation of nobody: %v", err)
		}
	}
}

// None of the contacts that are added at the same moment is lost.
func contactRace(t *testing.T, w world) {
	ctx := t.Context()
	nodes := []Directory{w.node("n1", nil), w.node("n2", nil)}
	owner := must(nodes[0].Register(ctx, number(t, 1)))(t).Account
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if err := nodes[i%2].AddContacts(ctx, owner, []e164.Number{number(t, 10+i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 12 {
		w.soon(t, "a contact that was added", func() bool {
			return must(nodes[0].Relation(ctx, owner, nobody, number(t, 10+i)))(t).Contact
		})
	}
}

func blocks(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	owner := must(d.Register(ctx, number(t, 1)))(t).Account
	peer := must(d.Register(ctx, number(t, 2)))(t).Account
	blocked := func(a directory.Account, i int) bool {
		return must(d.Relation(ctx, owner, a, number(t, i)))(t).Blocked
	}
	w.soon(t, "the number is found", func() bool { a, _ := d.Resolve(ctx, number(t, 2)); return a == peer })
	for _, i := range []int{2, 7, 2} {
		if err := d.Block(ctx, owner, number(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(d.Blocks(ctx, owner))(t); !slices.Equal(got, []e164.Number{number(t, 7), number(t, 2)}) {
		t.Errorf("blocks = %v", got)
	}
	w.soon(t, "blocked", func() bool { return blocked(peer, 2) && blocked(nobody, 7) && !blocked(nobody, 3) })
	w.soon(t, "blocked with another number", func() bool { return blocked(peer, 8) })
	w.soon(t, "whoever gets the number", func() bool { return blocked(nobody, 2) })
	if blocked("", 3) {
		t.Error("nobody is blocked because a number without an account is")
	}
	for _, i := range []int{2, 5} {
		if err := d.Unblock(ctx, owner, number(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	w.soon(t, "blocked no more", func() bool { return !blocked(peer, 2) && blocked(nobody, 7) })
	if got := must(d.Blocks(ctx, peer))(t); len(got) != 0 {
		t.Errorf("blocks of another = %v", got)
	}
	if err := d.Block(ctx, nobody, number(t, 1)); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("block by nobody: %v", err)
	}
}

func settings(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	owner := must(d.Register(ctx, number(t, 1)))(t).Account
	refused := errors.New("refused")
	if _, err := d.UpdateSettings(ctx, owner, func(s *directory.Settings) error { s.LastSeen = directory.Nobody; return refused }); !errors.Is(err, refused) {
		t.Errorf("refused change: %v", err)
	}
	for _, want := range []directory.Settings{
		{LastSeen: directory.Everyone}, {LastSeen: directory.Everyone, Discoverable: directory.Nobody}, {}, {Discoverable: directory.Nobody}, {Discoverable: directory.Everyone}, {ReadReceipts: directory.Nobody}, {Relayed: directory.RelayedEveryone},
	} {
		got, err := d.UpdateSettings(ctx, owner, func(s *directory.Settings) error { *s = want; return nil })
		if err != nil || got != want {
			t.Fatalf("settings = %+v, %v, want %+v", got, err, want)
		}
		if rec := must(d.AccountOf(ctx, owner))(t); rec.Settings != want || rec.Number != number(t, 1) {
			t.Errorf("record = %+v, want %+v", rec, want)
		}
		w.soon(t, "the relation has the settings", func() bool {
			return must(d.Relation(ctx, owner, nobody, number(t, 2)))(t).Settings == want
		})
		w.soon(t, "the number is found, or not", func() bool {
			a := must(d.LookUp(ctx, []e164.Number{number(t, 1)}))(t)[0]
			return (a == owner) == (want.Discoverable != directory.Nobody)
		})
		w.soon(t, "the number is resolved", func() bool {
			all := must(d.ResolveAll(ctx, []e164.Number{number(t, 2), number(t, 1)}))(t)
			return all[0] == "" && all[1] == owner
		})
		if a := must(d.Resolve(ctx, number(t, 1)))(t); a != owner {
			t.Errorf("who is not to be found cannot be called: %q", a)
		}
	}
	if _, err := d.UpdateSettings(ctx, nobody, func(*directory.Settings) error { return nil }); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("settings of nobody: %v", err)
	}
}

func lookUp(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	var numbers []e164.Number
	want := map[e164.Number]directory.Account{}
	for i := range 90 {
		if i%3 == 0 {
			want[number(t, i)] = must(d.Register(ctx, number(t, i)))(t).Account
		}
	}
	for i := range directory.MaxLookUp {
		numbers = append(numbers, number(t, i%100))
	}
	w.soon(t, "all are found, each at its place", func() bool {
		got := must(d.LookUp(ctx, numbers))(t)
		if len(got) != len(numbers) {
			t.Fatalf("%d answers to %d numbers", len(got), len(numbers))
		}
		for i, a := range got {
			if a != want[numbers[i]] {
				return false
			}
		}
		return true
	})
	if _, err := d.LookUp(ctx, append(numbers, number(t, 1))); !errors.Is(err, directory.ErrTooLong) {
		t.Errorf("too many at a time: %v", err)
	}
	if _, err := d.ResolveAll(ctx, append(numbers, number(t, 1))); !errors.Is(err, directory.ErrTooLong) {
		t.Errorf("too many at a time: %v", err)
	}
	if got := must(d.LookUp(ctx, nil))(t); len(got) != 0 {
		t.Errorf("nothing asked, got %v", got)
	}
}

func presences(t *testing.T, w world) {
	ctx, a, b := t.Context(), w.node("n1", nil), w.node("n2", nil)
	var accounts []directory.Account
	for i := range 80 {
		accounts = append(accounts, must(a.Register(ctx, number(t, i)))(t).Account)
	}
	online := map[directory.Account]bool{}
	for i, acct := range accounts {
		if i%4 > 1 {
			continue
		}
		dev := must(a.AddDevice(ctx, acct, "x", ""))(t).Device
		fence, _, err := []Directory{a, b}[i%2].Bind(ctx, acct, dev, "c")
		if err != nil {
			t.Fatal(err)
		}
		if online[acct] = i%8 > 1; !online[acct] {
			must(a.Unbind(ctx, acct, dev, fence))(t)
		}
	}
	asked := slices.Concat(accounts, []directory.Account{nobody, "", "x*"}, accounts[:5])
	w.soon(t, "each is as it is", func() bool {
		all := must(a.Presences(ctx, asked))(t)
		if len(all) != len(asked) {
			t.Fatalf("%d answers to %d accounts", len(all), len(asked))
		}
		for i, p := range all {
			one := must(a.PresenceOf(ctx, asked[i]))(t)
			if p.Online != online[asked[i]] || p.Online != one.Online || !p.LastSeen.Equal(one.LastSeen) {
				return false
			}
		}
		return true
	})
	if _, err := a.Presences(ctx, make([]directory.Account, directory.MaxLookUp+1)); !errors.Is(err, directory.ErrTooLong) {
		t.Errorf("too many at a time: %v", err)
	}
}
