package directorytest

import (
	"context"
	"slices"

	"switchboard/directory"
	"switchboard/directory/e164"
)

// people is whom an account knows and blocks.
type people struct {
	contacts map[e164.Number]bool
	blocks   []block
}

type block struct {
	number  e164.Number
	account directory.Account
}

// UpdateSettings changes an account's settings. change must not use the fake.
func (f *Fake) UpdateSettings(_ context.Context, a directory.Account, change func(*directory.Settings) error) (directory.Settings, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	acct := f.world.accounts[a]
	if acct == nil {
		return directory.Settings{}, directory.ErrNotFound
	}
	s := acct.record.Settings
	if err := change(&s); err != nil {
		return directory.Settings{}, err
	}
	acct.record.Settings = s
	return s, nil
}

// AddContacts adds to whom an account knows.
func (f *Fake) AddContacts(_ context.Context, owner directory.Account, numbers []e164.Number) error {
	return f.contacts(owner, func(have map[e164.Number]bool) { know(have, numbers) })
}

// SetContacts makes numbers all whom an account knows.
func (f *Fake) SetContacts(_ context.Context, owner directory.Account, numbers []e164.Number) error {
	return f.contacts(owner, func(have map[e164.Number]bool) { clear(have); know(have, numbers) })
}

// RemoveContacts takes numbers from those that an account knows.
func (f *Fake) RemoveContacts(_ context.Context, owner directory.Account, numbers []e164.Number) error {
	return f.contacts(owner, func(have map[e164.Number]bool) {
		for _, n := range numbers {
			delete(have, n)
		}
	})
}

func know(have map[e164.Number]bool, numbers []e164.Number) {
	for _, n := range numbers {
		if !n.IsZero() {
			have[n] = true
		}
	}
}

func (f *Fake) contacts(owner directory.Account, change func(map[e164.Number]bool)) error {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	acct := f.world.accounts[owner]
	if acct == nil {
		return directory.ErrNotFound
	}
	have := map[e164.Number]bool{}
	for n := range acct.people.contacts {
		have[n] = true
	}
	if change(have); len(have) > directory.MaxContacts {
		return directory.ErrTooMany
	}
	acct.people.contacts = have
	return nil
}

// Contacts lists whom an account knows, for tests: the real directory could not.
func (f *Fake) Contacts(owner directory.Account) []e164.Number {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	var all []e164.Number
	if acct := f.world.accounts[owner]; acct != nil {
		for n := range acct.people.contacts {
			all = append(all, n)
		}
	}
	return all
}

// Block keeps a number, and the account that it has now, from reaching owner.
func (f *Fake) Block(_ context.Context, owner directory.Account, n e164.Number) error {
	return f.blocks(owner, n, func(all []block) []block { return append(all, block{n, f.world.owner(n)}) })
}

func (w *World) owner(n e164.Number) directory.Account {
	a, _ := w.resolve(n)
	return a
}

// Unblock ends the block of a number.
func (f *Fake) Unblock(_ context.Context, owner directory.Account, n e164.Number) error {
	return f.blocks(owner, n, func(all []block) []block { return all })
}

func (f *Fake) blocks(owner directory.Account, n e164.Number, change func([]block) []block) error {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	acct := f.world.accounts[owner]
	if acct == nil {
		return directory.ErrNotFound
	}
	all := change(slices.DeleteFunc(slices.Clone(acct.people.blocks), func(b block) bool { return b.number == n }))
	if len(all) > directory.MaxBlocks {
		return directory.ErrTooMany
	}
	acct.people.blocks = all
	return nil
}

// Blocks lists the numbers that an account blocks.
func (f *Fake) Blocks(_ context.Context, owner directory.Account) ([]e164.Number, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	var all []e164.Number
	if acct := f.world.accounts[owner]; acct != nil {
		for _, b := range acct.people.blocks {
			all = append(all, b.number)
		}
	}
	return all, nil
}

// KnownAndBlocked counts the contacts and the blocks of an account.
func (f *Fake) KnownAndBlocked(_ context.Context, owner directory.Account) (contacts, blocks int, err error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	if !owner.Valid() {
		return 0, 0, directory.ErrNotFound
	}
	if acct := f.world.accounts[owner]; acct != nil {
		contacts, blocks = len(acct.people.contacts), len(acct.people.blocks)
	}
	return contacts, blocks, nil
}

// Relation tells what owner thinks of peer.
func (f *Fake) Relation(_ context.Context, owner, peer directory.Account, peerNumber e164.Number) (directory.Relation, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	acct := f.world.accounts[owner]
	if acct == nil {
		return directory.Relation{}, directory.ErrNotFound
	}
	forms := forms(peerNumber)
	return directory.Relation{
		Contact: slices.ContainsFunc(forms, func(n e164.Number) bool { return acct.people.contacts[n] }),
		Blocked: slices.ContainsFunc(acct.people.blocks, func(b block) bool {
			return slices.Contains(forms, b.number) || peer != "" && b.account == peer
		}),
		Settings: acct.record.Settings,
	}, nil
}

// LookUp finds the accounts of numbers that let themselves be found.
func (f *Fake) LookUp(_ context.Context, numbers []e164.Number) ([]directory.Account, error) {
	return f.lookUp(numbers, func(r directory.AccountRecord) bool { return r.Settings.Discoverable != directory.Nobody })
}

// ResolveAll finds the accounts of numbers.
func (f *Fake) ResolveAll(_ context.Context, numbers []e164.Number) ([]directory.Account, error) {
	return f.lookUp(numbers, func(directory.AccountRecord) bool { return true })
}

func (f *Fake) lookUp(numbers []e164.Number, may func(directory.AccountRecord) bool) ([]directory.Account, error) {
	if len(numbers) > directory.MaxLookUp {
		return nil, directory.ErrTooLong
	}
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	all := make([]directory.Account, len(numbers))
	for i, n := range numbers {
		if a, ok := f.world.resolve(n); ok && may(f.world.accounts[a].record) {
			all[i] = a
		}
	}
	return all, nil
}

// Presences tells of each account whether any of its devices is connected.
func (f *Fake) Presences(ctx context.Context, accounts []directory.Account) ([]directory.Presence, error) {
	if len(accounts) > directory.MaxLookUp {
		return nil, directory.ErrTooLong
	}
	all := make([]directory.Presence, len(accounts))
	for i, a := range accounts {
		all[i], _ = f.PresenceOf(ctx, a)
	}
	return all, nil
}
