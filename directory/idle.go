package directory

import (
	"context"
	"errors"
	"slices"
	"time"
)

// idleKey is the key in NODES of the mark that idle devices have been looked for
// lately.
const idleKey = "idle"

// Active is when the device was last heard of, as far as its record knows: a
// device that is connected now may have been heard of long ago.
func (r DeviceRecord) Active() time.Time {
	return slices.MaxFunc([]time.Time{r.Created, r.Seen, r.Token.Rotated}, time.Time.Compare)
}

// DeviceSeen writes down that a device was connected at a moment. One that is not
// there is no error.
func (d *Directory) DeviceSeen(ctx context.Context, a Account, dev Device, at time.Time) error {
	_, err := d.UpdateDevice(ctx, a, dev, func(r *DeviceRecord) error {
		if r.Seen.Before(at) {
			r.Seen = at.UTC().Truncate(time.Second)
		}
		return nil
	})
	return ignoreNotFound(err)
}

// IdleDevices calls f for each device that is not connected and has not been heard
// of since a moment. It looks unless any node has done so less than every ago,
// which it reports; it reads all devices, so every should be hours. f's error
// ends it, and whoever calls next looks again.
func (d *Directory) IdleDevices(ctx context.Context, since time.Time, every time.Duration, f func(context.Context, DeviceRecord) error) (looked bool, err error) {
	rev, err := d.nodes.create(ctx, idleKey, d.leaseData(), every)
	if errors.Is(err, errRevision) {
		return false, nil
	}
	if err != nil {
		return false, wrap("idle devices", err)
	}
	if err := d.eachIdle(ctx, since, f); err != nil {
		return true, wrap("idle devices", errors.Join(err, d.nodes.remove(context.WithoutCancel(ctx), idleKey, rev)))
	}
	return true, nil
}

func (d *Directory) eachIdle(ctx context.Context, since time.Time, f func(context.Context, DeviceRecord) error) error {
	for from := uint64(1); from != 0; {
		entries, next, err := d.devices.scan(ctx, from, sweepBatch)
		if err != nil {
			return err
		}
		for _, e := range entries {
			r, err := decodeDevice(e.data)
			if err != nil || !r.Active().Before(since) {
				continue // what cannot be read is left as it is
			}
			if err := d.ifIdle(ctx, r, since, f); err != nil {
				return err
			}
		}
		from = next
	}
	return nil
}

// ifIdle looks once more, where it costs more and is not stale.
func (d *Directory) ifIdle(ctx context.Context, r DeviceRecord, since time.Time, f func(context.Context, DeviceRecord) error) error {
	r, _, err := d.device(ctx, r.Account, r.Device)
	if errors.Is(err, ErrNotFound) || err == nil && !r.Active().Before(since) {
		return nil
	}
	if err != nil {
		return err
	}
	bound, err := d.BindingsConfirmed(ctx, r.Account)
	if err != nil || slices.ContainsFunc(bound, func(b Binding) bool { return b.Device == r.Device }) {
		return err
	}
	return f(ctx, r)
}
