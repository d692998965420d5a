package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"switchboard/directory"
	"switchboard/signaling/protocol"
	"switchboard/signaling/push"
)

// Pushes are those that could not be brought to where they go. Errors are those of
// package push, and the directory's.
type Pushes interface {
	Dead(ctx context.Context, account string, after uint64, limit int) ([]push.Dead, error)
	DeadAt(ctx context.Context, seq uint64) (push.Dead, error)
	DropDead(ctx context.Context, seq uint64) error
	// Wake puts a new push into the queue, to where the device is reached now. It
	// reports false if the device cannot be woken.
	Wake(ctx context.Context, d push.Device, w push.Wake) (bool, error)
}

var errNoPushes = protocol.NewError(protocol.CodeUnsupported, "this node wakes no devices: neither push.webhook.url nor push.webpush.subject is set")

func (a *API) deadPushes(ctx context.Context, r deadPushesRequest) (DeadPushes, error) {
	if a.deps.Pushes == nil {
		return DeadPushes{}, errNoPushes
	}
	dead, err := a.deps.Pushes.Dead(ctx, string(r.Account), uint64(r.After), r.Limit)
	if err != nil {
		return DeadPushes{}, err
	}
	answer := DeadPushes{Pushes: make([]DeadPush, len(dead))}
	for i, d := range dead {
		answer.Pushes[i] = DeadPush{
			Place: int(d.Seq), ID: d.ID, Reason: orUnknown(string(d.Reason)), Account: directory.Account(d.Account), Device: directory.Device(d.Device),
			Kind: orUnknown(string(d.Kind)), Service: d.Service, Made: d.Made, Tried: d.Tried, Ended: d.Ended, Why: d.Why,
		}
	}
	if n := len(dead); n == r.Limit && n > 0 {
		answer.Next = answer.Pushes[n-1].Place
	}
	return answer, nil
}

func (a *API) retryPush(ctx context.Context, r deadPushRequest) (Done, error) {
	if a.deps.Pushes == nil {
		return Done{}, errNoPushes
	}
	d, err := a.deps.Pushes.DeadAt(ctx, uint64(r.Place))
	if err != nil {
		return Done{}, noPush(err)
	}
	if d.Reason != push.Message {
		return Done{}, protocol.NewError(protocol.CodeConflict, "it was for a call, which is over")
	}
	woken, err := a.deps.Pushes.Wake(ctx, push.Device{Account: d.Account, Device: d.Device}, push.Wake{Reason: push.Message})
	switch {
	case err != nil:
		return Done{}, missing(err, "the device is there no more")
	case !woken:
		return Done{}, protocol.NewError(protocol.CodeConflict, "the device has not said how to wake it")
	}
	return a.dropPush(ctx, r)
}

func (a *API) dropPush(ctx context.Context, r deadPushRequest) (Done, error) {
	if a.deps.Pushes == nil {
		return Done{}, errNoPushes
	}
	return Done{true}, noPush(a.deps.Pushes.DropDead(ctx, uint64(r.Place)))
}

func orUnknown(s string) string { return cmp.Or(s, "unknown") }

func noPush(err error) error {
	if errors.Is(err, push.ErrNoPush) {
		return protocol.NewError(protocol.CodeNotFound, "there is no such push")
	}
	return err
}

// wayOf is how a device is woken.
func wayOf(d directory.DeviceRecord) string {
	var t push.Target
	if len(d.Push) == 0 || json.Unmarshal(d.Push, &t) != nil {
		return ""
	}
	return string(t.Kind)
}
