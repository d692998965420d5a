package directory

import (
	"context"
	"errors"
	"time"
)

// errNothing ends a change that would change nothing.
var errNothing = errors.New("nothing to change")

// DeviceMissed writes down that a device has missed something since a moment,
// because its mailbox was full, unless that is known of an earlier one. A device
// that is not there is no error.
func (d *Directory) DeviceMissed(ctx context.Context, a Account, dev Device, at time.Time) error {
	return d.changeMissed(ctx, a, dev, time.Time{}, at)
}

// DeviceToldMissed takes it back once the device knows of it, unless it has been
// written down anew.
func (d *Directory) DeviceToldMissed(ctx context.Context, a Account, dev Device, at time.Time) error {
	return d.changeMissed(ctx, a, dev, at, time.Time{})
}

// DeviceKeys keeps what a device publishes for those who encrypt for it.
func (d *Directory) DeviceKeys(ctx context.Context, a Account, dev Device, keys string) error {
	_, err := d.UpdateDevice(ctx, a, dev, func(r *DeviceRecord) error {
		r.Keys = keys
		return nil
	})
	return err
}

func (d *Directory) changeMissed(ctx context.Context, a Account, dev Device, from, to time.Time) error {
	_, err := d.UpdateDevice(ctx, a, dev, func(r *DeviceRecord) error {
		if !r.Missed.Equal(from) {
			return errNothing
		}
		r.Missed = to.UTC().Truncate(time.Millisecond)
		return nil
	})
	return ignoreNotFound(ignoreNothing(err))
}

func ignoreNothing(err error) error {
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}
