package directorytest

import (
	"bytes"
	"context"
	"encoding/json"

	"switchboard/directory"
)

// SetPush is as [directory.Directory.SetPush].
func (f *Fake) SetPush(ctx context.Context, a directory.Account, dev directory.Device, target json.RawMessage) error {
	_, err := f.UpdateDevice(ctx, a, dev, func(r *directory.DeviceRecord) error {
		r.Push = target
		return nil
	})
	return err
}

// DropPush is as [directory.Directory.DropPush].
func (f *Fake) DropPush(_ context.Context, a directory.Account, dev directory.Device, target json.RawMessage) error {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	if d, err := f.world.device(a, dev); err == nil && bytes.Equal(d.Push, target) {
		d.Push = nil
		f.world.accounts[a].devices[dev] = d
	}
	return nil
}
