package signaling

import (
	"context"
	"sync"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
)

// folk stands in for what accounts know and want, until the fake directory does.
type folk struct {
	mu       sync.Mutex
	contacts map[directory.Account]map[e164.Number]bool
	blocks   map[directory.Account]map[e164.Number]bool
	settings map[directory.Account]directory.Settings
	reads    map[string]int // of relations, by the peer's number
}

func newFolk() *folk {
	return &folk{
		contacts: map[directory.Account]map[e164.Number]bool{}, blocks: map[directory.Account]map[e164.Number]bool{},
		settings: map[directory.Account]directory.Settings{}, reads: map[string]int{},
	}
}

func (f *folk) asked(peer string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads[peer]
}

// folks is one node's view of the folk.
type folks struct {
	*directorytest.Fake
	f *folk
}

func (v folks) AddContacts(_ context.Context, owner directory.Account, numbers []e164.Number) error {
	v.f.mu.Lock()
	defer v.f.mu.Unlock()
	if v.f.contacts[owner] == nil {
		v.f.contacts[owner] = map[e164.Number]bool{}
	}
	for _, n := range numbers {
		v.f.contacts[owner][n] = true
	}
	return nil
}

func (v folks) SetContacts(ctx context.Context, owner directory.Account, numbers []e164.Number) error {
	v.f.mu.Lock()
	delete(v.f.contacts, owner)
	v.f.mu.Unlock()
	return v.AddContacts(ctx, owner, numbers)
}

func (v folks) RemoveContacts(_ context.Context, owner directory.Account, numbers []e164.Number) error {
	v.f.mu.Lock()
	defer v.f.mu.Unlock()
	for _, n := range numbers {
		delete(v.f.contacts[owner], n)
	}
	return nil
}

func (v folks) Block(_ context.Context, owner directory.Account, n e164.Number) error {
	v.f.mu.Lock()
	defer v.f.mu.Unlock()
	if v.f.blocks[owner] == nil {
		v.f.blocks[owner] = map[e164.Number]bool{}
	}
	if len(v.f.blocks[owner]) >= 1000 {
		return directory.ErrTooMany
	}
	v.f.blocks[owner][n] = true
	return nil
}

func (v folks) Unblock(_ context.Context, owner directory.Account, n e164.Number) error {
	v.f.mu.Lock()
	defer v.f.mu.Unlock()
	delete(v.f.blocks[owner], n)
	return nil
}

func (v folks) Blocks(_ context.Context, owner directory.Account) ([]e164.Number, error) {
	v.f.mu.Lock()
	defer v.f.mu.Unlock()
	var all []e164.Number
	for n := range v.f.blocks[owner] {
		all = append(all, n)
	}
	return all, nil
}

func (v folks) AccountOf(ctx context.Context, a directory.Account) (directory.AccountRecord, error) {
	r, err := v.Fake.AccountOf(ctx, a)
	v.f.mu.Lock()
	defer v.f.mu.Unlock()
	r.Settings = v.f.settings[a]
	return r, err
}

func (v folks) UpdateSettings(_ context.Context, a directory.Account, change func(*directory.Settings) error) (directory.Settings, error) {
	v.f.mu.Lock()
	defer v.f.mu.Unlock()
	s := v.f.settings[a]
	err := change(&s)
	v.f.settings[a] = s
	return s, err
}

func (v folks) Relation(_ context.Context, owner, peer directory.Account, n e164.Number) (directory.Relation, error) {
	v.f.mu.Lock()
	defer v.f.mu.Unlock()
	v.f.reads[n.E164()]++
	return directory.Relation{Contact: v.f.contacts[owner][n], Blocked: v.f.blocks[owner][n], Settings: v.f.settings[owner]}, nil
}

func (v folks) LookUp(ctx context.Context, numbers []e164.Number) ([]directory.Account, error) {
	all := make([]directory.Account, len(numbers))
	for i, n := range numbers {
		a, err := v.Resolve(ctx, n)
		v.f.mu.Lock()
		if err == nil && v.f.settings[a].Discoverable != "nobody" {
			all[i] = a
		}
		v.f.mu.Unlock()
	}
	return all, nil
}

func (v folks) Presences(ctx context.Context, accounts []directory.Account) ([]directory.Presence, error) {
	all := make([]directory.Presence, len(accounts))
	for i, a := range accounts {
		var err error
		if all[i], err = v.PresenceOf(ctx, a); err != nil {
			return nil, err
		}
	}
	return all, nil
}
