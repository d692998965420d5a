package directory

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"switchboard/directory/e164"
)

// A change of number goes through these steps. Each is a compare-and-set; what is
// cut short is carried on by whoever asks for it again or reads the account.
//
//  1. The account says where it moves to. From then on the number's record may
//     lead to it.
//  2. The new number's record leads to the account, written anew in any case.
//  3. The account has the new number, if nothing has changed it since 1, and says
//     that the old one is former.
//  4. The record of the former number becomes a tombstone, and the account
//     forgets about it.
//
// A number's record that leads to an account which neither has the number nor
// moves to it is void, and [Directory.Register] takes it over. Whoever changes a
// number's record reads it first, then looks what the account says, and then
// swaps: so none does it on the strength of an account that said otherwise later.

// MoveNumber gives an account another number, for which the caller has shown that
// the account's owner has it. The account keeps everything else. The old number
// has no account then, and whoever registers with it gets a new one.
// [ErrNumberTaken] says that another account has the number, [ErrNotFound] that
// there is no such account.
func (d *Directory) MoveNumber(ctx context.Context, a Account, to e164.Number) (_ AccountRecord, err error) {
	defer d.metrics.observe(opMoveNumber)(&err)
	if to.IsZero() {
		return AccountRecord{}, wrap("move number", ErrNotFound)
	}
	for range maxTries {
		rec, err := d.moveOnce(ctx, a, to)
		if !errors.Is(err, errRevision) {
			return rec, wrap("move number", err)
		}
	}
	return AccountRecord{}, wrap("move number", ErrConflict)
}

func (d *Directory) moveOnce(ctx context.Context, a Account, to e164.Number) (AccountRecord, error) {
	rec, e, err := d.account(ctx, a)
	if err != nil {
		return AccountRecord{}, err
	}
	if rec.Number != to {
		if rec, e, err = d.moveTo(ctx, rec, e, to); err != nil {
			return AccountRecord{}, err
		}
		d.announced(a)
	}
	return d.letGo(ctx, rec, e)
}

// moveTo takes the steps until the account has the number.
func (d *Directory) moveTo(ctx context.Context, rec AccountRecord, e entry, to e164.Number) (AccountRecord, entry, error) {
	rec = rec.withoutMoving()
	rec.Moving = to
	rec.Former = slices.DeleteFunc(slices.Clone(rec.Former), func(n e164.Number) bool { return n == to })
	e, err := d.putAccount(ctx, rec, e)
	if err != nil {
		return rec, e, err
	}
	switch err := d.claim(ctx, rec, e); {
	case errors.Is(err, ErrNumberTaken):
		if serr := d.stay(ctx, rec, e); serr != nil {
			return rec, e, serr // look again who has the number
		}
		return rec, e, err
	case err != nil:
		return rec, e, err
	}
	rec.Former = append(rec.Former, rec.Number)
	rec.Number, rec.Moving = to, e164.Number{}
	e, err = d.putAccount(ctx, rec, e)
	return rec, e, err
}

// stay has an account keep the number that it has.
func (d *Directory) stay(ctx context.Context, rec AccountRecord, e entry) error {
	rec = rec.withoutMoving()
	e, err := d.putAccount(ctx, rec, e)
	if err == nil {
		_, err = d.letGo(ctx, rec, e)
	}
	return err
}

// withoutMoving is the record of an account that no longer moves. The number may
// lead to it already, so it is as if it had had it.
func (r AccountRecord) withoutMoving() AccountRecord {
	if !r.Moving.IsZero() {
		r.Former = append(slices.Clone(r.Former), r.Moving)
		r.Moving = e164.Number{}
	}
	return r
}

// claim has the number that an account moves to lead to it, or says that another
// account has the number. e is the account's record, which must not change.
func (d *Directory) claim(ctx context.Context, rec AccountRecord, e entry) error {
	_, rev, err := d.owner(ctx, rec.Moving, rec.Account)
	switch {
	case err == nil:
		return ErrNumberTaken
	case !errors.Is(err, ErrNotFound):
		return err
	}
	if err := d.unchanged(ctx, rec.Account, e); err != nil {
		return err
	}
	data, err := json.Marshal(numberRecord{
		V: recordVersion, Account: rec.Account, Created: now(), Hidden: rec.Settings.Discoverable == Nobody,
	})
	if err != nil {
		return err
	}
	_, err = d.accounts.swap(ctx, numberKey(d.config.Secret, rec.Moving), data, rev, 0)
	return err
}

// unchanged returns errRevision if the record of an account is not e any more.
func (d *Directory) unchanged(ctx context.Context, a Account, e entry) error {
	have, err := d.accounts.getLeader(ctx, accountKey(a))
	if errors.Is(err, ErrNotFound) || err == nil && have.rev != e.rev {
		return errRevision
	}
	return err
}

// letGo makes tombstones of the numbers that an account had.
func (d *Directory) letGo(ctx context.Context, rec AccountRecord, e entry) (AccountRecord, error) {
	if len(rec.Former) == 0 {
		return rec, nil
	}
	for _, n := range rec.Former {
		if err := d.release(ctx, rec.Account, n, e); err != nil {
			return rec, err
		}
	}
	rec.Former = nil
	return rec, d.saveAccount(ctx, rec, e)
}

// release makes a tombstone of a number that leads to an account which no longer
// has it. e is the account's record, which must not change.
func (d *Directory) release(ctx context.Context, a Account, n e164.Number, e entry) error {
	key := numberKey(d.config.Secret, n)
	have, err := d.accounts.getLeader(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := decodeNumber(have.data)
	if err != nil || r.Account != a {
		return err
	}
	if err := d.unchanged(ctx, a, e); err != nil {
		return err
	}
	return d.bury(ctx, key, have)
}

// bury writes a tombstone in the place of what have holds.
func (d *Directory) bury(ctx context.Context, key string, have entry) error {
	data, err := json.Marshal(numberRecord{V: recordVersion, Gone: now()})
	if err != nil {
		return err
	}
	_, err = d.accounts.swap(ctx, key, data, have.rev, 0)
	return err
}

// mend carries on what was cut short: a change of number, or a deletion.
func (d *Directory) mend(ctx context.Context, rec AccountRecord) error {
	switch {
	case !rec.Deleted.IsZero():
		return d.DeleteAccount(ctx, rec.Account)
	case !rec.Moving.IsZero():
		_, err := d.MoveNumber(ctx, rec.Account, rec.Moving)
		return err
	case len(rec.Former) > 0:
		_, err := d.MoveNumber(ctx, rec.Account, rec.Number)
		return err
	}
	return nil
}
