package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"switchboard/directory/e164"
)

// maxTries bounds how often a change is tried anew because another was faster.
const maxTries = 32

// MaxDevices is the most devices that an account may have at a time. Each of
// them gets every text and every call.
const MaxDevices = 16

// ErrTooMany says that the account has [MaxDevices] devices.
var ErrTooMany = errors.New("account has too many devices")

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// Resolve returns the account that owns a number, or [ErrNotFound].
func (d *Directory) Resolve(ctx context.Context, n e164.Number) (Account, error) {
	e, err := d.accounts.get(ctx, numberKey(d.config.Secret, n))
	if err != nil {
		return "", wrap("resolve", err)
	}
	a := Account(e.data)
	if !a.Valid() {
		return "", wrap("resolve", &RecordError{"number", "", "is not an account"})
	}
	return a, nil
}

// Register returns the account that owns a number, which it makes if there is
// none. Whoever registers at the same moment gets the same one.
func (d *Directory) Register(ctx context.Context, n e164.Number) (AccountRecord, error) {
	for range maxTries {
		a, err := d.resolveLeader(ctx, n)
		if err == nil {
			return d.AccountOf(ctx, a)
		}
		if !errors.Is(err, ErrNotFound) {
			return AccountRecord{}, wrap("register", err)
		}
		// The record comes first, so that a number never leads to nothing. One
		// whose number went to somebody else stays behind, unused.
		rec := AccountRecord{V: recordVersion, Account: newAccount(), Number: n, Created: now()}
		data, err := json.Marshal(rec)
		if err != nil {
			return AccountRecord{}, wrap("register", err)
		}
		rev, err := d.accounts.swap(ctx, accountKey(rec.Account), data, 0, 0)
		if err != nil {
			return AccountRecord{}, wrap("register", err)
		}
		_, err = d.accounts.swap(ctx, numberKey(d.config.Secret, n), []byte(rec.Account), 0, 0)
		if err == nil {
			return rec, nil
		}
		if rerr := d.accounts.remove(ctx, accountKey(rec.Account), rev); rerr != nil {
			d.log.Warn("unused account not removed", "error", rerr)
		}
		if !errors.Is(err, errRevision) {
			return AccountRecord{}, wrap("register", err)
		}
	}
	return AccountRecord{}, wrap("register", ErrConflict)
}

func (d *Directory) resolveLeader(ctx context.Context, n e164.Number) (Account, error) {
	e, err := d.accounts.getLeader(ctx, numberKey(d.config.Secret, n))
	if err != nil {
		return "", err
	}
	return Account(e.data), nil
}

// AccountOf returns the record of an account, or [ErrNotFound].
func (d *Directory) AccountOf(ctx context.Context, a Account) (AccountRecord, error) {
	rec, _, err := d.account(ctx, a)
	return rec, wrap("account", err)
}

func (d *Directory) account(ctx context.Context, a Account) (AccountRecord, uint64, error) {
	if !a.Valid() {
		return AccountRecord{}, 0, ErrNotFound
	}
	e, err := d.accounts.getLeader(ctx, accountKey(a))
	if err != nil {
		return AccountRecord{}, 0, err
	}
	rec, err := decodeAccount(e.data)
	return rec, e.rev, err
}

// AddDevice gives an account a device. If external is not empty and a device
// has it already, that one is returned. [ErrTooMany] says that it has enough.
func (d *Directory) AddDevice(ctx context.Context, a Account, name, external string) (DeviceRecord, error) {
	for range maxTries {
		rec, rev, err := d.account(ctx, a)
		if err != nil {
			return DeviceRecord{}, wrap("add device", err)
		}
		have, err := d.Devices(ctx, a)
		if err != nil {
			return DeviceRecord{}, err
		}
		if external != "" {
			if i := slices.IndexFunc(have, func(r DeviceRecord) bool { return r.External == external }); i >= 0 {
				return have[i], nil
			}
		}
		if len(have) >= MaxDevices {
			return DeviceRecord{}, wrap("add device", ErrTooMany)
		}
		rec.LastDevice++
		data, err := json.Marshal(rec)
		if err != nil {
			return DeviceRecord{}, wrap("add device", err)
		}
		// The number is taken first; whoever lost the race looks anew.
		if _, err = d.accounts.swap(ctx, accountKey(a), data, rev, 0); errors.Is(err, errRevision) {
			continue
		}
		if err != nil {
			return DeviceRecord{}, wrap("add device", err)
		}
		return d.createDevice(ctx, DeviceRecord{
			V: recordVersion, Account: a, Device: rec.LastDevice, Name: name, External: external, Created: now(),
			Token: TokenState{Generation: 1, Rotated: now()},
		})
	}
	return DeviceRecord{}, wrap("add device", ErrConflict)
}

func (d *Directory) createDevice(ctx context.Context, rec DeviceRecord) (DeviceRecord, error) {
	data, err := json.Marshal(rec)
	if err != nil {
		return DeviceRecord{}, wrap("add device", err)
	}
	if _, err := d.devices.swap(ctx, deviceKey(rec.Account, rec.Device), data, 0, 0); err != nil {
		return DeviceRecord{}, wrap("add device", err)
	}
	return rec, nil
}

// DeviceOf returns the record of a device as it is now, or [ErrNotFound].
func (d *Directory) DeviceOf(ctx context.Context, a Account, dev Device) (DeviceRecord, error) {
	rec, _, err := d.device(ctx, a, dev)
	return rec, wrap("device", err)
}

func (d *Directory) device(ctx context.Context, a Account, dev Device) (DeviceRecord, uint64, error) {
	if !a.Valid() {
		return DeviceRecord{}, 0, ErrNotFound
	}
	e, err := d.devices.getLeader(ctx, deviceKey(a, dev))
	if err != nil {
		return DeviceRecord{}, 0, err
	}
	rec, err := decodeDevice(e.data)
	return rec, e.rev, err
}

// Devices lists the devices of an account, by their names.
func (d *Directory) Devices(ctx context.Context, a Account) ([]DeviceRecord, error) {
	if !a.Valid() {
		return nil, nil
	}
	entries, err := d.devices.list(ctx, string(a)+".*")
	if err != nil {
		return nil, wrap("devices", err)
	}
	var all []DeviceRecord
	for _, e := range entries {
		rec, err := decodeDevice(e.data)
		if err != nil {
			return nil, wrap("devices", err)
		}
		all = append(all, rec)
	}
	slices.SortFunc(all, func(x, y DeviceRecord) int { return int(x.Device) - int(y.Device) })
	return all, nil
}

// UpdateDevice changes a device's record. change may run more than once, each
// time on the newest record; its error is returned as it is.
func (d *Directory) UpdateDevice(ctx context.Context, a Account, dev Device, change func(*DeviceRecord) error) (DeviceRecord, error) {
	for range maxTries {
		rec, rev, err := d.device(ctx, a, dev)
		if err != nil {
			return DeviceRecord{}, wrap("update device", err)
		}
		if err := change(&rec); err != nil {
			return DeviceRecord{}, err
		}
		data, err := json.Marshal(rec)
		if err != nil {
			return DeviceRecord{}, wrap("update device", err)
		}
		_, err = d.devices.swap(ctx, deviceKey(a, dev), data, rev, 0)
		if err == nil {
			return rec, nil
		}
		if !errors.Is(err, errRevision) {
			return DeviceRecord{}, wrap("update device", err)
		}
	}
	return DeviceRecord{}, wrap("update device", ErrConflict)
}

// RemoveDevice removes a device. One that is not there is no error.
func (d *Directory) RemoveDevice(ctx context.Context, a Account, dev Device) error {
	for range maxTries {
		_, rev, err := d.device(ctx, a, dev)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return wrap("remove device", err)
		}
		err = d.devices.remove(ctx, deviceKey(a, dev), rev)
		if !errors.Is(err, errRevision) {
			return wrap("remove device", err)
		}
	}
	return wrap("remove device", ErrConflict)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
