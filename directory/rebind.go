package directory

import (
	"context"
	"errors"
	"time"
)

// ErrReplaced says that somebody newer has the device.
var ErrReplaced = errors.New("a newer connection has the device")

// Rebind records again that a device is connected to this node, after the node
// got another lease. conn is what [Directory.Bind] was given, and since is when.
// The record may be there still, may be void and swept up, or lost with all that
// NATS had in memory: whatever happened, of several nodes that have a connection
// of the device the one with the newest comes out as the one that has it.
// [ErrReplaced] says that this is another; the node must close its own. prev is
// an older one of another node, which has lost the device. [ErrNotFound] says
// that the device has been removed meanwhile, and [ErrLeaseLost] that the node
// has lost its lease again.
func (d *Directory) Rebind(ctx context.Context, a Account, dev Device, conn string, since time.Time) (fence uint64, prev *Binding, err error) {
	defer d.metrics.observe(opRebind)(&err)
	if !d.alive(d.Incarnation()) {
		return 0, nil, wrap("rebind", ErrLeaseLost)
	}
	if _, _, err := d.device(ctx, a, dev); err != nil {
		return 0, nil, wrap("rebind", err)
	}
	b := Binding{V: recordVersion, Account: a, Device: dev, Conn: conn, Since: since.UTC().Truncate(time.Millisecond), Rebound: true}
	for range maxTries {
		var rev uint64
		if rev, prev, err = d.bindingAt(ctx, d.presence.getLeader, a, dev); err != nil {
			break
		}
		if prev != nil && !b.Displaces(*prev) {
			prev, err = nil, ErrReplaced
			break
		}
		// As long as nothing was lost, the order of writes goes on to count.
		b.Rebound = prev == nil || prev.Conn != conn || prev.Rebound
		if fence, err = d.bindOver(ctx, b, rev); !errors.Is(err, errRevision) {
			break
		}
		err = ErrConflict
	}
	if err != nil {
		return 0, nil, wrap("rebind", err)
	}
	if prev != nil && prev.Conn == conn {
		prev = nil
	}
	d.announced(a)
	return fence, prev, nil
}

// Displaces reports whether a binding that is recorded again takes the place of
// another. One that was recorded when its device connected is newer than what
// happened before, by the order of writes; of two that were recorded again that
// order says nothing, and the clocks of their nodes decide.
func (b Binding) Displaces(other Binding) bool {
	switch {
	case b.Conn == other.Conn:
		return true
	case !other.Rebound:
		return false
	case !b.Since.Equal(other.Since):
		return b.Since.After(other.Since)
	}
	return b.Conn > other.Conn
}
