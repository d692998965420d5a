package auth_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/protocol"
)

// TestIdleDevices has three devices: one that is never heard of again, one that
// connects after a month, and one that is connected all the time.
func TestIdleDevices(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		idle time.Duration
		gone map[int][]directory.Device // by day
	}{
		{45 * day, map[int][]directory.Device{45: nil, 47: {1}, 74: {1}, 78: {1, 2}, 200: {1, 2}}},
		{0, map[int][]directory.Device{200: nil}}, // never
	} {
		t.Run(c.idle.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := directorytest.New()
				n := newNodeOn(t, dir, callstoretest.New(), func(conf *auth.Config) { conf.DeviceIdle, conf.TokenLife = c.idle, 365*day })
				number, _ := e164.Parse(alice, "")
				rec, err := dir.Register(t.Context(), number)
				if err != nil {
					t.Fatal(err)
				}
				var tokens []string
				for range 3 {
					tokens = append(tokens, n.device(alice).Token)
					time.Sleep(time.Minute)
				}
				var mu sync.Mutex
				var removed []directory.Device
				n.auth.OnRemoved(func(_ context.Context, _ directory.Account, d directory.Device) {
					mu.Lock()
					defer mu.Unlock()
					removed = append(removed, d)
				})
				gone := func() []directory.Device {
					mu.Lock()
					defer mu.Unlock()
					return slices.Clone(removed)
				}
				if _, _, err := dir.Bind(t.Context(), rec.Account, 3, "c"); err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				var log bytes.Buffer
				ended := make(chan error)
				go func() { ended <- n.auth.RunIdle(ctx, dir, slog.New(slog.NewTextHandler(&log, nil))) }()
				start := time.Now()
				for d := 1; d <= 200; d++ {
					time.Sleep(time.Until(start.Add(time.Duration(d) * day)))
					synctest.Wait()
					if d == 30 {
						if err := dir.DeviceSeen(t.Context(), rec.Account, 2, time.Now()); err != nil {
							t.Fatal(err)
						}
					}
					if want, ok := c.gone[d]; ok && !slices.Equal(gone(), want) {
						t.Errorf("after %d days %v are gone, want %v", d, gone(), want)
					}
				}
				for i, token := range tokens {
					_, err := n.auth.Authenticate(t.Context(), token)
					if is := slices.Contains(gone(), directory.Device(i+1)); is != (protocol.CodeOf(err) == protocol.CodeToken) {
						t.Errorf("device %d: gone %v, its token: %v", i+1, is, err)
					}
				}
				if bytes.Contains(log.Bytes(), []byte(alice)) {
					t.Error("the number is in the log")
				}
				stop()
				if c.idle == 0 {
					synctest.Wait()
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
