package auth

import (
	"context"
	"errors"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
)

// Numbers leads from numbers to accounts and back. Errors are the directory's.
type Numbers interface {
	Register(ctx context.Context, n e164.Number) (directory.AccountRecord, error)
	AccountOf(ctx context.Context, a directory.Account) (directory.AccountRecord, error)
}

// Devices holds the devices of accounts. AddDevice with an external key that a
// device has returns that device. Errors are the directory's.
type Devices interface {
	AddDevice(ctx context.Context, a directory.Account, name, external string) (directory.DeviceRecord, error)
	DeviceOf(ctx context.Context, a directory.Account, dev directory.Device) (directory.DeviceRecord, error)
	Devices(ctx context.Context, a directory.Account) ([]directory.DeviceRecord, error)
	UpdateDevice(ctx context.Context, a directory.Account, dev directory.Device, change func(*directory.DeviceRecord) error) (directory.DeviceRecord, error)
	RemoveDevice(ctx context.Context, a directory.Account, dev directory.Device) error
}

// Bindings says which devices of an account are connected.
type Bindings interface {
	Bindings(ctx context.Context, a directory.Account) ([]directory.Binding, error)
}

// Changes are those of whole accounts. Both may be repeated, and carry on what was
// cut short. Errors are the directory's.
type Changes interface {
	MoveNumber(ctx context.Context, a directory.Account, to e164.Number) (directory.AccountRecord, error)
	DeleteAccount(ctx context.Context, a directory.Account) error
}

// Accounts is the part of the directory that this package needs.
type Accounts interface {
	Numbers
	Devices
	Bindings
	Changes
}

// Identity is whom a token stands for.
type Identity struct {
	Account directory.Account
	Device  directory.Device
	Number  e164.Number
	// Expires is when the token does.
	Expires time.Time
	// External says that the token is of an identity system of the operator's.
	External bool
	// Seen is when the device was last known to be connected, see [SeenEvery].
	Seen time.Time
	// Missed is since when the device has missed what did not fit into its mailbox.
	Missed time.Time
}

// External keys of devices say where a device came from. The prefixes keep one
// kind from being taken for another.
const (
	externalCode  = "code:" // and the key of the verification's record
	externalToken = "ext:"  // and the device's name in the identity system
)

// addDevice gives an account a device. An account that has as many as it may
// loses the oldest: its owner may have lost that one, too, and must not be
// locked out.
func (a *Authenticator) addDevice(ctx context.Context, account directory.Account, name, external string) (directory.DeviceRecord, error) {
	const maxTries = directory.MaxDevices // others may take the place that was made
	for try := 1; ; try++ {
		d, err := a.accounts.AddDevice(ctx, account, name, external)
		switch {
		case err == nil && d.Device > directory.MaxDevices && time.Since(d.Created) < claimLife: // it is new
			return d, a.trim(ctx, account, directory.MaxDevices)
		case !errors.Is(err, directory.ErrTooMany) || try == maxTries:
			return d, err
		}
		if err := a.trim(ctx, account, directory.MaxDevices-1); err != nil {
			return directory.DeviceRecord{}, err
		}
	}
}

// trim leaves an account the newest of its devices. There are more than there may
// be after several were added at the same moment. Whoever else does so removes the
// same.
func (a *Authenticator) trim(ctx context.Context, account directory.Account, most int) error {
	have, err := a.accounts.Devices(ctx, account)
	if err != nil {
		return err
	}
	for _, d := range have[:max(0, len(have)-most)] {
		if err := a.removeDevice(ctx, account, d.Device); err != nil {
			return err
		}
	}
	return nil
}

func (a *Authenticator) removeDevice(ctx context.Context, account directory.Account, dev directory.Device) error {
	if err := a.accounts.RemoveDevice(ctx, account, dev); err != nil {
		return err
	}
	if a.removed != nil {
		a.removed(ctx, account, dev)
	}
	return nil
}
