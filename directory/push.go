package directory

import (
	"bytes"
	"context"
	"encoding/json"
)

// SetPush keeps how a device is woken, in the form that package push gives it; nil
// takes it back.
func (d *Directory) SetPush(ctx context.Context, a Account, dev Device, target json.RawMessage) error {
	_, err := d.UpdateDevice(ctx, a, dev, func(r *DeviceRecord) error {
		r.Push = target
		return nil
	})
	return err
}

// DropPush takes back how a device is woken, if it is still that. A device that is
// not there is no error.
func (d *Directory) DropPush(ctx context.Context, a Account, dev Device, target json.RawMessage) error {
	_, err := d.UpdateDevice(ctx, a, dev, func(r *DeviceRecord) error {
		if !bytes.Equal(r.Push, target) {
			return errNothing
		}
		r.Push = nil
		return nil
	})
	return ignoreNotFound(ignoreNothing(err))
}
