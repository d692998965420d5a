package directory

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"switchboard/directory/e164"
)

// DeleteAccount removes an account and all that is kept of it here: devices,
// bindings, when it was last seen, contacts, blocks and settings. Its number
// becomes a tombstone: that it once had an account is all that is kept, and
// whoever registers with it gets a new one. Blocks that others have of it stay
// theirs. An account that is not there is no error; what was cut short is carried
// on by whoever asks for it again.
//
// The account is marked first, so that it counts as gone at once, and its record
// is removed last. Whoever makes a record of an account looks afterwards whether
// it is still there, and removes what it has made if not: see
// [Directory.unlessDeleted].
func (d *Directory) DeleteAccount(ctx context.Context, a Account) (err error) {
	defer d.metrics.observe(opDelete)(&err)
	for range maxTries {
		err := d.deleteOnce(ctx, a)
		if !errors.Is(err, errRevision) {
			return wrap("delete account", err)
		}
	}
	return wrap("delete account", ErrConflict)
}

func (d *Directory) deleteOnce(ctx context.Context, a Account) error {
	rec, e, err := d.anyAccount(ctx, a)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if rec.Deleted.IsZero() {
		rec.Deleted = now()
		if e, err = d.putAccount(ctx, rec, e); err != nil {
			return err
		}
	}
	if err := d.buryAll(ctx, rec); err != nil {
		return err
	}
	if err := d.erase(ctx, rec); err != nil {
		return err
	}
	if err := d.accounts.remove(ctx, accountKey(a), e.rev); err != nil {
		return err
	}
	d.announced(a)
	return nil
}

// buryAll makes tombstones of all numbers that lead to an account. Whoever is
// about to move the account to a number fails at the tombstone that is new, even
// if there was one already, or nothing.
func (d *Directory) buryAll(ctx context.Context, rec AccountRecord) error {
	for _, n := range append([]e164.Number{rec.Number, rec.Moving}, rec.Former...) {
		if n.IsZero() {
			continue
		}
		key := numberKey(d.config.Secret, n)
		have, err := d.accounts.getLeader(ctx, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		var r numberRecord
		if err == nil {
			if r, err = decodeNumber(have.data); err != nil {
				return err
			}
		}
		if r.Account == rec.Account || r.Account == "" && n == rec.Moving {
			if err := d.bury(ctx, key, have); err != nil {
				return err
			}
		}
	}
	return nil
}

// erase removes what hangs on an account.
func (d *Directory) erase(ctx context.Context, rec AccountRecord) error {
	a := rec.Account
	devices, err := d.devicesOf(ctx, rec)
	if err != nil {
		return err
	}
	for _, dev := range devices {
		if err := d.drop(ctx, d.devices, deviceKey(a, dev)); err != nil {
			return err
		}
		if err := d.drop(ctx, d.presence, deviceKey(a, dev)); err != nil {
			return err
		}
	}
	d.mu.Lock()
	delete(d.waiting, a)
	d.mu.Unlock()
	if err := d.drop(ctx, d.seen, string(a)); err != nil {
		return err
	}
	return d.drop(ctx, d.people, string(a))
}

// drop removes a key, whatever it holds.
func (d *Directory) drop(ctx context.Context, b *bucket, key string) error {
	e, err := b.getLeader(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.remove(ctx, key, e.rev)
}

// unlessDeleted undoes what has just been written for an account that is not
// there: whoever deleted it may have come too early to see it. [ErrNotFound] says
// that it was undone.
func (d *Directory) unlessDeleted(ctx context.Context, a Account, undo func(context.Context) error) error {
	deleted, err := d.deleted(ctx, a)
	if err != nil || !deleted {
		return err
	}
	if err := undo(ctx); err != nil && !errors.Is(err, errRevision) {
		return err
	}
	return ErrNotFound
}

// deleted reports whether an account is not there. It reads no more than that.
func (d *Directory) deleted(ctx context.Context, a Account) (bool, error) {
	e, err := d.accounts.getLeader(ctx, accountKey(a))
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	var r struct {
		Deleted time.Time `json:"deleted"`
	}
	if err := json.Unmarshal(e.data, &r); err != nil {
		return false, &RecordError{"account", "deleted", "cannot be read"}
	}
	return !r.Deleted.IsZero(), nil
}
