package directory

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"
)

// Bind records that a device is connected to this node, in place of any other
// binding. The fence is for [Directory.Unbind]; prev is the binding that was
// there, if it could still be seen.
func (d *Directory) Bind(ctx context.Context, a Account, dev Device, conn string) (fence uint64, prev *Binding, err error) {
	if !a.Valid() || dev == 0 {
		return 0, nil, wrap("bind", ErrNotFound)
	}
	key := deviceKey(a, dev)
	if e, err := d.presence.get(ctx, key); err == nil {
		if b, err := decodeBinding(e.data); err == nil {
			b.Fence = e.rev
			prev = &b
		}
	}
	data, err := json.Marshal(Binding{V: recordVersion, Account: a, Device: dev, Node: d.incarnation, Conn: conn, Since: now()})
	if err != nil {
		return 0, nil, wrap("bind", err)
	}
	// The order of the writes decides who has the device.
	fence, err = d.presence.put(ctx, key, data)
	if err != nil {
		return 0, nil, wrap("bind", err)
	}
	return fence, prev, nil
}

// Unbind removes the binding that fence was given for. It reports false if
// there is a newer one, which stays.
func (d *Directory) Unbind(ctx context.Context, a Account, dev Device, fence uint64) (bool, error) {
	err := d.presence.remove(ctx, deviceKey(a, dev), fence)
	if errors.Is(err, errRevision) {
		return false, nil
	}
	if err != nil {
		return false, wrap("unbind", err)
	}
	d.left(a, now())
	return true, nil
}

// Bindings lists the bindings of an account whose nodes are alive. In a
// cluster they may be a moment old.
func (d *Directory) Bindings(ctx context.Context, a Account) ([]Binding, error) {
	if !a.Valid() {
		return nil, nil
	}
	entries, err := d.presence.list(ctx, string(a)+".*")
	if err != nil {
		return nil, wrap("bindings", err)
	}
	return d.live(entries)
}

// BindingsConfirmed lists them as the leader has them, for whoever is about to
// conclude that a device is away.
func (d *Directory) BindingsConfirmed(ctx context.Context, a Account) ([]Binding, error) {
	devices, err := d.Devices(ctx, a)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, dev := range devices {
		e, err := d.presence.getLeader(ctx, deviceKey(a, dev.Device))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, wrap("bindings", err)
		}
		entries = append(entries, e)
	}
	return d.live(entries)
}

func (d *Directory) live(entries []entry) ([]Binding, error) {
	var all []Binding
	for _, e := range entries {
		b, err := decodeBinding(e.data)
		if err != nil {
			return nil, wrap("bindings", err)
		}
		if b.Fence = e.rev; d.alive(b.Node) {
			all = append(all, b)
		}
	}
	return all, nil
}

// PresenceOf tells whether any device of an account is connected.
func (d *Directory) PresenceOf(ctx context.Context, a Account) (Presence, error) {
	b, err := d.Bindings(ctx, a)
	if err != nil {
		return Presence{}, err
	}
	p := Presence{Online: len(b) > 0}
	d.mu.Lock()
	p.LastSeen = d.waiting[a]
	d.mu.Unlock()
	if !p.LastSeen.IsZero() {
		return p, nil
	}
	e, err := d.seen.get(ctx, string(a))
	if errors.Is(err, ErrNotFound) {
		return p, nil
	}
	if err != nil {
		return Presence{}, wrap("presence", err)
	}
	if ms, err := strconv.ParseInt(string(e.data), 10, 64); err == nil && ms > 0 {
		p.LastSeen = time.UnixMilli(ms).UTC()
	}
	return p, nil
}

// left notes that a device of the account has gone. [Directory.Run] writes it
// down soon, once for many.
func (d *Directory) left(a Account, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting[a] = at
}

// writeSeen writes down who has left since the last time.
func (d *Directory) writeSeen(ctx context.Context) {
	d.mu.Lock()
	batch := make(map[Account]time.Time, len(d.waiting))
	for a, at := range d.waiting {
		batch[a] = at
	}
	d.mu.Unlock()
	for a, at := range batch {
		if _, err := d.seen.put(ctx, string(a), strconv.AppendInt(nil, at.UnixMilli(), 10)); err != nil {
			d.log.Warn("last seen not written", "error", err)
			return // the next time
		}
		d.mu.Lock()
		if d.waiting[a].Equal(at) {
			delete(d.waiting, a)
		}
		d.mu.Unlock()
	}
}
