package directory

import (
	"context"
	"time"

	"switchboard/directory/e164"
)

var (
	DecodeAccount  = decodeAccount
	DecodeDevice   = decodeDevice
	DecodeBinding  = decodeBinding
	DecodeNumber   = decodeNumber
	DecodeSeen     = decodeSeen
	DecodePeople   = decodePeople
	DecodeLease    = decodeLease
	DeviceKey      = deviceKey
	ParseDeviceKey = parseDeviceKey
	NewAccount     = newAccount
)

// EncodeOver is encodeOver.
func EncodeOver(old []byte, v any) ([]byte, error) { return encodeOver(old, v) }

// NumberKey is numberKey.
func NumberKey(secret []byte, n e164.Number) string { return numberKey(secret, n) }

// LeaseKey and SweepKey are keys in NODES.
var LeaseKey = leaseKey

const (
	SweepKey = sweepKey
	AskQueue = askQueue
)

// Counts is counts.
func Counts(d *Directory) (nodes, unseen int) { return d.counts() }

// NoteSeen is noteSeen.
func NoteSeen(ctx context.Context, d *Directory, a Account, at time.Time) error {
	return d.noteSeen(ctx, a, at)
}

// Waiting is how many requests of other nodes wait.
func Waiting(d *Directory) int { return int(d.queued.Load()) }

// Forget lets a node forget that it heard of another.
func Forget(d *Directory, incarnation string) { d.noteLease(incarnation, nil, time.Now()) }

// SweepLate sweeps up what was there before something happened.
func SweepLate(ctx context.Context, d *Directory, happens func()) error {
	entries, _, err := d.presence.scan(ctx, 1, sweepBatch)
	if err != nil {
		return err
	}
	happens()
	for _, e := range entries {
		if err := d.sweepOne(ctx, e, map[string]bool{}); err != nil {
			return err
		}
	}
	return nil
}

// BindLate binds a device of which it has read the record before something
// happened.
func BindLate(ctx context.Context, d *Directory, a Account, dev Device, happens func()) error {
	rev, _, err := d.bindingAt(ctx, d.presence.get, a, dev)
	if err != nil {
		return err
	}
	happens()
	_, err = d.bindOver(ctx, Binding{V: recordVersion, Account: a, Device: dev, Conn: "late", Since: now()}, rev)
	return err
}

// Unheard is how many announcements of a watched account found no room.
func Unheard(d *Directory, a Account) int {
	d.watches.mu.Lock()
	defer d.watches.mu.Unlock()
	n, _ := d.watches.of[a].sub.Dropped()
	return n
}

// WatchQueue is how many announcements may wait.
const WatchQueue = watchQueue
