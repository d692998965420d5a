package directorytest

import (
	"context"

	"switchboard/directory"
	"switchboard/directory/e164"
)

// MoveNumber gives an account another number.
func (f *Fake) MoveNumber(_ context.Context, a directory.Account, to e164.Number) (directory.AccountRecord, error) {
	f.world.mu.Lock()
	defer f.world.changed(a)
	defer f.world.mu.Unlock()
	acct := f.world.accounts[a]
	if acct == nil || to.IsZero() {
		return directory.AccountRecord{}, directory.ErrNotFound
	}
	if other, ok := f.world.numbers[to]; ok && other != a {
		return directory.AccountRecord{}, directory.ErrNumberTaken
	}
	delete(f.world.numbers, acct.record.Number)
	f.world.numbers[to] = a
	acct.record.Number = to
	return acct.record, nil
}

// DeleteAccount removes an account and all that is kept of it.
func (f *Fake) DeleteAccount(_ context.Context, a directory.Account) error {
	f.world.mu.Lock()
	defer f.world.changed(a)
	defer f.world.mu.Unlock()
	if acct := f.world.accounts[a]; acct != nil {
		delete(f.world.numbers, acct.record.Number)
		delete(f.world.accounts, a)
	}
	return nil
}
