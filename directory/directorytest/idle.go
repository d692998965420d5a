package directorytest

import (
	"context"
	"errors"
	"time"

	"switchboard/directory"
)

// DeviceSeen is as [directory.Directory.DeviceSeen].
func (f *Fake) DeviceSeen(ctx context.Context, a directory.Account, dev directory.Device, at time.Time) error {
	_, err := f.UpdateDevice(ctx, a, dev, func(r *directory.DeviceRecord) error {
		if r.Seen.Before(at) {
			r.Seen = at.UTC().Truncate(time.Second)
		}
		return nil
	})
	if errors.Is(err, directory.ErrNotFound) {
		return nil
	}
	return err
}

// DeviceMissed is as [directory.Directory.DeviceMissed].
func (f *Fake) DeviceMissed(_ context.Context, a directory.Account, dev directory.Device, at time.Time) error {
	return f.changeMissed(a, dev, time.Time{}, at)
}

// DeviceToldMissed is as [directory.Directory.DeviceToldMissed].
func (f *Fake) DeviceToldMissed(_ context.Context, a directory.Account, dev directory.Device, at time.Time) error {
	return f.changeMissed(a, dev, at, time.Time{})
}

// DeviceKeys is as [directory.Directory.DeviceKeys].
func (f *Fake) DeviceKeys(ctx context.Context, a directory.Account, dev directory.Device, keys string) error {
	_, err := f.UpdateDevice(ctx, a, dev, func(r *directory.DeviceRecord) error {
		r.Keys = keys
		return nil
	})
	return err
}

func (f *Fake) changeMissed(a directory.Account, dev directory.Device, from, to time.Time) error {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	if d, err := f.world.device(a, dev); err == nil && d.Missed.Equal(from) {
		d.Missed = to.UTC().Truncate(time.Millisecond)
		f.world.accounts[a].devices[dev] = d
	}
	return nil
}

// IdleDevices is as [directory.Directory.IdleDevices].
func (f *Fake) IdleDevices(ctx context.Context, since time.Time, every time.Duration, call func(context.Context, directory.DeviceRecord) error) (bool, error) {
	for _, r := range f.idle(since, every) {
		if err := call(ctx, r); err != nil {
			f.world.mu.Lock()
			f.world.lookedIdle = time.Time{}
			f.world.mu.Unlock()
			return true, err
		}
	}
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	return f.world.lookedBy == f, nil
}

// idle lists idle devices, none if somebody has looked lately.
func (f *Fake) idle(since time.Time, every time.Duration) (all []directory.DeviceRecord) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	f.world.lookedBy = nil
	if time.Since(f.world.lookedIdle) < every {
		return nil
	}
	f.world.lookedIdle, f.world.lookedBy = time.Now(), f
	for a, acct := range f.world.accounts {
		bound := map[directory.Device]bool{}
		for _, b := range f.world.bindings(a) {
			bound[b.Device] = true
		}
		for dev, r := range acct.devices {
			if r.Active().Before(since) && !bound[dev] {
				all = append(all, r)
			}
		}
	}
	return all
}
