package auth

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"switchboard/directory"
)

// A device that has not connected for [Config.DeviceIdle] is removed, as if its
// owner had done so: else what is sent to the account would be kept for it without
// end, and fill its mailbox.

// SeenEvery is how often it is written down that a device is connected: what is
// known of it is as much too old.
const SeenEvery = 24 * time.Hour

// idleLook is how often idle devices are looked for, at most.
const idleLook = 6 * time.Hour

// Idle finds the devices that have not been connected for long.
type Idle interface {
	IdleDevices(ctx context.Context, since time.Time, every time.Duration, f func(context.Context, directory.DeviceRecord) error) (looked bool, err error)
}

// RunIdle removes idle devices until ctx ends, on one node at a time. It returns
// at once if none are to be removed.
func (a *Authenticator) RunIdle(ctx context.Context, devices Idle, log *slog.Logger) error {
	idle := a.config.DeviceIdle
	if idle == 0 {
		return nil
	}
	every := min(idleLook, idle/4)
	for {
		t := time.NewTimer(every/2 + rand.N(every))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		removed := 0
		_, err := devices.IdleDevices(ctx, time.Now().Add(-idle-min(SeenEvery, idle)), every, func(ctx context.Context, d directory.DeviceRecord) error {
			removed++
			return a.removeDevice(ctx, d.Account, d.Device)
		})
		if err != nil && ctx.Err() == nil {
			log.Warn("idle devices not removed", "error", err)
		}
		if removed > 0 {
			log.Info("devices that have not been connected for long are removed", "devices", removed)
		}
	}
}
