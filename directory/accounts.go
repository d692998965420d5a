package directory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"switchboard/directory/e164"
)

// maxTries bounds how often a change is tried anew because another was faster.
const maxTries = 32

// MaxDevices is the most devices that an account may have at a time. Each of
// them gets every text and every call.
const MaxDevices = 16

// ErrTooMany says that the account has as many devices, contacts or blocks as it
// may have: [MaxDevices], [MaxContacts], [MaxBlocks].
var ErrTooMany = errors.New("account has as many of these as it may have")

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// Resolve returns the account that owns a number, or [ErrNotFound]. It also
// finds one that was registered with the number as it was before its country
// changed its plan. In a cluster, a number that was registered a moment ago may
// not be found yet.
func (d *Directory) Resolve(ctx context.Context, n e164.Number) (_ Account, err error) {
	defer d.metrics.observe(opResolve)(&err)
	a, err := d.resolve(ctx, n)
	return a, wrap("resolve", err)
}

func (d *Directory) resolve(ctx context.Context, n e164.Number) (Account, error) {
	for _, form := range forms(n) {
		e, err := d.accounts.get(ctx, numberKey(d.config.Secret, form))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return "", err
		}
		if r, err := decodeNumber(e.data); err != nil || r.Account != "" {
			return r.Account, err
		}
	}
	return "", ErrNotFound
}

// forms are those that a number has, the one that it has now first.
func forms(n e164.Number) []e164.Number {
	return append([]e164.Number{n}, e164.Alternates(n)...)
}

// Register returns the account that owns a number, which it makes if there is
// none. Whoever registers at the same moment gets the same one. One that has the
// number in another form, from before its country changed its plan, has it in this
// form from then on.
func (d *Directory) Register(ctx context.Context, n e164.Number) (_ AccountRecord, err error) {
	defer d.metrics.observe(opRegister)(&err)
	if n.IsZero() {
		return AccountRecord{}, wrap("register", ErrNotFound)
	}
	for range maxTries {
		rec, rev, err := d.owner(ctx, n, "")
		if errors.Is(err, ErrNotFound) {
			rec, err = d.renumber(ctx, n)
		}
		if errors.Is(err, ErrNotFound) {
			rec, err = d.create(ctx, n, rev)
		}
		if !errors.Is(err, errRevision) {
			return rec, wrap("register", err)
		}
	}
	return AccountRecord{}, wrap("register", ErrConflict)
}

// renumber gives the account that has a number in another form the number in this
// one.
func (d *Directory) renumber(ctx context.Context, n e164.Number) (AccountRecord, error) {
	for _, form := range e164.Alternates(n) {
		rec, _, err := d.owner(ctx, form, "")
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err == nil {
			rec, err = d.moveOnce(ctx, rec.Account, n)
		}
		if errors.Is(err, ErrNumberTaken) {
			err = errRevision // look again who has it
		}
		return rec, err
	}
	return AccountRecord{}, ErrNotFound
}

// owner returns the account that owns a number, as the leader knows. With
// ErrNotFound comes the revision that whoever gives the number to an account must
// swap. What the number's record says of mover, who is about to move there, does
// not count; another account that is about to does not get it. Of one that is
// about to be deleted, the deletion is carried on first.
func (d *Directory) owner(ctx context.Context, n e164.Number, mover Account) (AccountRecord, uint64, error) {
	e, err := d.accounts.getLeader(ctx, numberKey(d.config.Secret, n))
	if err != nil {
		return AccountRecord{}, e.rev, err
	}
	r, err := decodeNumber(e.data)
	if err != nil {
		return AccountRecord{}, 0, err
	}
	if r.Account == "" || r.Account == mover {
		return AccountRecord{}, e.rev, ErrNotFound
	}
	rec, acct, err := d.anyAccount(ctx, r.Account)
	switch {
	case errors.Is(err, ErrNotFound):
		return AccountRecord{}, 0, &RecordError{"number", "account", "is an account that is not there"}
	case err != nil:
		return AccountRecord{}, 0, err
	case !rec.Deleted.IsZero():
		if err := d.deleteOnce(ctx, rec.Account); err != nil {
			return AccountRecord{}, 0, err
		}
		return AccountRecord{}, 0, errRevision
	case rec.Number == n:
		return rec, e.rev, nil
	case rec.Moving == n:
		if err := d.stay(ctx, rec, acct); err != nil {
			return AccountRecord{}, 0, err
		}
		return AccountRecord{}, 0, errRevision
	}
	return AccountRecord{}, e.rev, ErrNotFound
}

// create makes an account for a number that has none, and whose record has the
// revision numberRev, or returns errRevision if it has one by now. The account's record comes first, so that a number
// never leads to nothing. One whose number went to somebody else is removed;
// if it cannot be told who got the number, it stays, for it may be ours.
func (d *Directory) create(ctx context.Context, n e164.Number, numberRev uint64) (AccountRecord, error) {
	rec := AccountRecord{V: recordVersion, Account: newAccount(), Number: n, Created: now()}
	data, err := json.Marshal(rec)
	if err != nil {
		return AccountRecord{}, err
	}
	number, err := json.Marshal(numberRecord{V: recordVersion, Account: rec.Account, Created: rec.Created})
	if err != nil {
		return AccountRecord{}, err
	}
	rev, err := d.accounts.swap(ctx, accountKey(rec.Account), data, 0, 0)
	if err != nil {
		return AccountRecord{}, err
	}
	_, err = d.accounts.swap(ctx, numberKey(d.config.Secret, n), number, numberRev, 0)
	if errors.Is(err, errRevision) {
		if rerr := d.accounts.remove(ctx, accountKey(rec.Account), rev); rerr != nil {
			d.log.Warn("unused account not removed", "error", rerr)
		}
	}
	if err != nil {
		return AccountRecord{}, err
	}
	return rec, nil
}

// AccountOf returns the record of an account, as the leader knows it, or
// [ErrNotFound]. It carries on what was cut short when the account was about to
// change its number or to be deleted.
func (d *Directory) AccountOf(ctx context.Context, a Account) (_ AccountRecord, err error) {
	defer d.metrics.observe(opAccount)(&err)
	rec, _, err := d.anyAccount(ctx, a)
	if err == nil && rec.unfinished() {
		if err := d.mend(ctx, rec); err != nil {
			d.log.Warn("change of an account not carried on", "account", a, "error", err)
		}
		rec, _, err = d.account(ctx, a)
	}
	return rec, wrap("account", err)
}

// account reads an account that is there, as the leader has it.
func (d *Directory) account(ctx context.Context, a Account) (AccountRecord, entry, error) {
	rec, e, err := d.anyAccount(ctx, a)
	if err == nil && !rec.Deleted.IsZero() {
		return AccountRecord{}, entry{}, ErrNotFound
	}
	return rec, e, err
}

// anyAccount also reads one that is about to be deleted.
func (d *Directory) anyAccount(ctx context.Context, a Account) (AccountRecord, entry, error) {
	if !a.Valid() {
		return AccountRecord{}, entry{}, ErrNotFound
	}
	e, err := d.accounts.getLeader(ctx, accountKey(a))
	if err != nil {
		return AccountRecord{}, entry{}, err
	}
	rec, err := decodeAccount(e.data)
	if err == nil && rec.Account != a {
		return AccountRecord{}, entry{}, &RecordError{"account", "account", "is not the one that it is kept for"}
	}
	return rec, e, err
}

// saveAccount writes the record of an account that old holds, or returns
// errRevision if another was faster.
func (d *Directory) saveAccount(ctx context.Context, rec AccountRecord, old entry) error {
	_, err := d.putAccount(ctx, rec, old)
	return err
}

// putAccount is saveAccount, and returns what is there now.
func (d *Directory) putAccount(ctx context.Context, rec AccountRecord, old entry) (entry, error) {
	data, err := encodeOver(old.data, rec)
	if err != nil {
		return entry{}, err
	}
	key := accountKey(rec.Account)
	rev, err := d.accounts.swap(ctx, key, data, old.rev, 0)
	return entry{key, data, rev}, err
}

// AddDevice gives an account a device. If external is not empty and a device
// has it already, that one is returned. [ErrNotFound] says that there is no
// such account, [ErrTooMany] that it has [MaxDevices] devices; whoever adds
// several at the same moment may get one more.
func (d *Directory) AddDevice(ctx context.Context, a Account, name, external string) (_ DeviceRecord, err error) {
	defer d.metrics.observe(opAddDevice)(&err)
	for range maxTries {
		rec, err := d.addDevice(ctx, a, name, external)
		if !errors.Is(err, errRevision) {
			return rec, wrap("add device", err)
		}
	}
	return DeviceRecord{}, wrap("add device", ErrConflict)
}

// addDevice takes the device's number, and its external name, in the account's
// record before it makes the device, so that there is never a second one.
func (d *Directory) addDevice(ctx context.Context, a Account, name, external string) (DeviceRecord, error) {
	acct, old, err := d.account(ctx, a)
	if err != nil {
		return DeviceRecord{}, err
	}
	if dev, ok := acct.External[external]; ok && external != "" {
		return d.deviceOr(ctx, newDevice(a, dev, name, external))
	}
	have, err := d.devices.list(ctx, string(a)+".*")
	if err != nil {
		return DeviceRecord{}, err
	}
	if len(have) >= MaxDevices {
		return DeviceRecord{}, ErrTooMany
	}
	acct.LastDevice++
	if external != "" {
		acct.External = maps.Clone(acct.External)
		if acct.External == nil {
			acct.External = map[string]Device{}
		}
		acct.External[external] = acct.LastDevice
	}
	if err := d.saveAccount(ctx, acct, old); err != nil {
		return DeviceRecord{}, err
	}
	return d.deviceOr(ctx, newDevice(a, acct.LastDevice, name, external))
}

func newDevice(a Account, dev Device, name, external string) DeviceRecord {
	at := now()
	return DeviceRecord{
		V: recordVersion, Account: a, Device: dev, Name: name, External: external, Created: at,
		Token: TokenState{Generation: 1, Rotated: at},
	}
}

// deviceOr returns a device as it is, or makes it as rec says. It is not there
// if whoever took its number is about to make it, or died before.
func (d *Directory) deviceOr(ctx context.Context, rec DeviceRecord) (DeviceRecord, error) {
	have, _, err := d.device(ctx, rec.Account, rec.Device)
	if !errors.Is(err, ErrNotFound) {
		return have, err
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return DeviceRecord{}, err
	}
	key := deviceKey(rec.Account, rec.Device)
	rev, err := d.devices.swap(ctx, key, data, 0, 0)
	if err == nil {
		err = d.unlessDeleted(ctx, rec.Account, func(ctx context.Context) error { return d.devices.remove(ctx, key, rev) })
	}
	if err != nil {
		return DeviceRecord{}, err
	}
	return rec, nil
}

// DeviceOf returns the record of a device as it is now, or [ErrNotFound]: what
// was revoked before is seen.
func (d *Directory) DeviceOf(ctx context.Context, a Account, dev Device) (_ DeviceRecord, err error) {
	defer d.metrics.observe(opDevice)(&err)
	rec, _, err := d.device(ctx, a, dev)
	return rec, wrap("device", err)
}

func (d *Directory) device(ctx context.Context, a Account, dev Device) (DeviceRecord, entry, error) {
	if !a.Valid() {
		return DeviceRecord{}, entry{}, ErrNotFound
	}
	e, err := d.devices.getLeader(ctx, deviceKey(a, dev))
	if err != nil {
		return DeviceRecord{}, entry{}, err
	}
	rec, err := decodeDevice(e.data)
	if err == nil && (rec.Account != a || rec.Device != dev) {
		return DeviceRecord{}, entry{}, &RecordError{"device", "device", "is not the one that it is kept for"}
	}
	return rec, e, err
}

// Devices lists the devices of an account in the order in which they were
// added. In a cluster, a change of a moment ago may not show yet.
func (d *Directory) Devices(ctx context.Context, a Account) (_ []DeviceRecord, err error) {
	defer d.metrics.observe(opDevices)(&err)
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
	slices.SortFunc(all, func(x, y DeviceRecord) int { return cmp.Compare(x.Device, y.Device) })
	return all, nil
}

// UpdateDevice changes a device's record. change may run more than once, each
// time on the newest record; its error is returned as it is. What it does to
// the record's account, device and external name is not kept. [ErrConflict]
// says that others were faster every time.
func (d *Directory) UpdateDevice(ctx context.Context, a Account, dev Device, change func(*DeviceRecord) error) (_ DeviceRecord, err error) {
	defer d.metrics.observe(opUpdateDevice)(&err)
	for range maxTries {
		rec, old, err := d.device(ctx, a, dev)
		if err != nil {
			return DeviceRecord{}, wrap("update device", err)
		}
		was := rec
		if err := change(&rec); err != nil {
			return DeviceRecord{}, err
		}
		rec.V, rec.Account, rec.Device, rec.External = was.V, was.Account, was.Device, was.External
		data, err := encodeOver(old.data, rec)
		if err != nil {
			return DeviceRecord{}, wrap("update device", err)
		}
		_, err = d.devices.swap(ctx, deviceKey(a, dev), data, old.rev, 0)
		if !errors.Is(err, errRevision) {
			return rec, wrap("update device", err)
		}
	}
	return DeviceRecord{}, wrap("update device", ErrConflict)
}

// RemoveDevice removes a device, whose number is never used again. One that is
// not there is no error. A binding of the device stays until its node ends it.
func (d *Directory) RemoveDevice(ctx context.Context, a Account, dev Device) (err error) {
	defer d.metrics.observe(opRemoveDevice)(&err)
	for range maxTries {
		err := d.removeDevice(ctx, a, dev)
		if !errors.Is(err, errRevision) {
			return wrap("remove device", err)
		}
	}
	return wrap("remove device", ErrConflict)
}

// removeDevice gives up the external name first. The other way round, whoever
// has the name would make the device again, with tokens that were revoked.
func (d *Directory) removeDevice(ctx context.Context, a Account, dev Device) error {
	rec, old, err := d.device(ctx, a, dev)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if rec.External != "" {
		if err := d.forgetExternal(ctx, a, dev, rec.External); err != nil {
			return err
		}
	}
	return d.devices.remove(ctx, deviceKey(a, dev), old.rev)
}

func (d *Directory) forgetExternal(ctx context.Context, a Account, dev Device, external string) error {
	acct, old, err := d.account(ctx, a)
	if err != nil || acct.External[external] != dev {
		return ignoreNotFound(err)
	}
	acct.External = maps.Clone(acct.External)
	delete(acct.External, external)
	return d.saveAccount(ctx, acct, old)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
