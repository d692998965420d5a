package directorytest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"switchboard/directory"
)

// idleDevices looks for devices that nobody has heard of.
func idleDevices(t *testing.T, w world) {
	ctx, d, other := t.Context(), w.node("n1", nil), w.node("n2", nil)
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	var devs []directory.DeviceRecord
	for _, name := range []string{"lost", "seen", "connected"} {
		devs = append(devs, must(d.AddDevice(ctx, acct, name, ""))(t))
	}
	later := devs[2].Created.Add(48 * time.Hour)
	seen := later.Add(time.Hour).UTC().Truncate(time.Second)
	for _, at := range []time.Time{seen, seen.Add(-time.Minute)} { // the second is older and changes nothing
		if err := d.DeviceSeen(ctx, acct, devs[1].Device, at); err != nil {
			t.Fatal(err)
		}
	}
	if r := must(d.DeviceOf(ctx, acct, devs[1].Device))(t); !r.Seen.Equal(seen) || !r.Active().Equal(seen) {
		t.Errorf("seen at %v, active at %v, want %v", r.Seen, r.Active(), seen)
	}
	if err := d.DeviceSeen(ctx, acct, 9, seen); err != nil {
		t.Errorf("a device that is not there: %v", err)
	}
	if _, _, err := other.Bind(ctx, acct, devs[2].Device, "c"); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	if _, err := d.IdleDevices(ctx, later, time.Hour, func(context.Context, directory.DeviceRecord) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("what is called fails: %v", err)
	}
	var idle []directory.Device
	look := func(n Directory, since time.Time) bool {
		idle = nil
		return must(n.IdleDevices(ctx, since, time.Hour, func(_ context.Context, r directory.DeviceRecord) error {
			idle = append(idle, r.Device)
			return nil
		}))(t)
	}
	if looked := look(d, later); !looked || !slices.Equal(idle, []directory.Device{devs[0].Device}) {
		t.Errorf("looked: %v; idle: %v, want the first alone", looked, idle)
	}
	for _, n := range []Directory{d, other} {
		if look(n, later) || idle != nil {
			t.Errorf("somebody has looked just now, and again found %v", idle)
		}
	}
}

// missed writes down that a device has missed something, and takes it back.
func missed(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	dev := must(d.AddDevice(ctx, acct, "phone", ""))(t).Device
	at := time.Now().UTC().Truncate(time.Millisecond)
	is := func(want time.Time) {
		t.Helper()
		if r := must(d.DeviceOf(ctx, acct, dev))(t); !r.Missed.Equal(want) {
			t.Errorf("missed since %v, want %v", r.Missed, want)
		}
	}
	for _, step := range []struct {
		do   func(context.Context, directory.Account, directory.Device, time.Time) error
		at   time.Time
		want time.Time
	}{
		{d.DeviceToldMissed, at, time.Time{}},
		{d.DeviceMissed, at, at},
		{d.DeviceMissed, at.Add(time.Hour), at}, // since the first
		{d.DeviceToldMissed, at.Add(time.Hour), at},
		{d.DeviceToldMissed, at, time.Time{}},
	} {
		if err := step.do(ctx, acct, dev, step.at); err != nil {
			t.Fatal(err)
		}
		is(step.want)
	}
	if err := d.DeviceMissed(ctx, acct, 9, at); err != nil {
		t.Errorf("a device that is not there: %v", err)
	}
}

// pushTargets keeps how a device is woken, and takes it back if it is still that.
func pushTargets(t *testing.T, w world) {
	ctx, d := t.Context(), w.node("n1", nil)
	acct := must(d.Register(ctx, number(t, 1)))(t).Account
	dev := must(d.AddDevice(ctx, acct, "phone", ""))(t).Device
	one, two := json.RawMessage(`{"kind":"webhook","token":"one"}`), json.RawMessage(`{"kind":"webhook","token":"two"}`)
	is := func(want json.RawMessage) {
		t.Helper()
		if r := must(d.DeviceOf(ctx, acct, dev))(t); string(r.Push) != string(want) {
			t.Errorf("push target is %s, want %s", r.Push, want)
		}
	}
	for _, step := range []struct {
		do     func(context.Context, directory.Account, directory.Device, json.RawMessage) error
		target json.RawMessage
		want   json.RawMessage
	}{
		{d.SetPush, one, one}, {d.SetPush, two, two}, {d.DropPush, one, two}, {d.DropPush, two, nil}, {d.SetPush, one, one}, {d.SetPush, nil, nil},
	} {
		if err := step.do(ctx, acct, dev, step.target); err != nil {
			t.Fatal(err)
		}
		is(step.want)
	}
	if err := d.DropPush(ctx, acct, 9, one); err != nil {
		t.Errorf("a device that is not there: %v", err)
	}
}
