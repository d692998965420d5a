package directory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bind records that a device is connected to this node, in place of any other
// binding. The fence is for [Directory.Unbind]; prev is the binding that was
// there, if it could still be seen. [ErrLeaseLost] says that the node has no
// lease, so that the binding would be void and yet replace a good one,
// [ErrNotFound] that there is no such account.
func (d *Directory) Bind(ctx context.Context, a Account, dev Device, conn string) (fence uint64, prev *Binding, err error) {
	defer d.metrics.observe(opBind)(&err)
	if !a.Valid() || dev == 0 {
		return 0, nil, wrap("bind", ErrNotFound)
	}
	if !d.alive(d.Incarnation()) {
		return 0, nil, wrap("bind", ErrLeaseLost)
	}
	b := Binding{V: recordVersion, Account: a, Device: dev, Conn: conn, Since: now()}
	read := d.presence.get
	for range maxTries {
		// The order of the writes decides who has the device. It is by
		// compare-and-set nevertheless: what a node sent before it was paused must
		// not arrive after the device has gone elsewhere.
		var rev uint64
		if rev, prev, err = d.bindingAt(ctx, read, a, dev); err != nil {
			break
		}
		if fence, err = d.bindOver(ctx, b, rev); !errors.Is(err, errRevision) {
			break
		}
		read, err = d.presence.getLeader, ErrConflict // the replica lags
	}
	if err != nil {
		return 0, nil, wrap("bind", err)
	}
	d.announced(a)
	return fence, prev, nil
}

// bindingAt reads the record of a binding. Without one, or with one that cannot
// be read, the binding is nil; the revision is the record's at any rate, or that of
// its removal.
func (d *Directory) bindingAt(ctx context.Context, read func(context.Context, string) (entry, error), a Account, dev Device) (uint64, *Binding, error) {
	e, err := read(ctx, deviceKey(a, dev))
	if errors.Is(err, ErrNotFound) {
		return e.rev, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	b, err := decodeBinding(e.data)
	if err != nil {
		return e.rev, nil, nil // its device is here, whatever that was
	}
	b.Fence = e.rev
	return e.rev, &b, nil
}

// bindOver writes a binding of this node over a revision, if the node has a
// lease.
func (d *Directory) bindOver(ctx context.Context, b Binding, rev uint64) (fence uint64, err error) {
	d.mu.Lock()
	held := d.aliveLocked(d.incarnation)
	b.Node = d.incarnation
	d.mu.Unlock()
	if !held {
		return 0, ErrLeaseLost
	}
	data, err := json.Marshal(b)
	if err != nil {
		return 0, err
	}
	key := deviceKey(b.Account, b.Device)
	if fence, err = d.presence.swap(ctx, key, data, rev, 0); err != nil {
		return 0, err
	}
	return fence, d.unlessDeleted(ctx, b.Account, func(ctx context.Context) error { return d.presence.remove(ctx, key, fence) })
}

// Unbind removes the binding that fence was given for. It reports false if
// there is a newer one, which stays.
func (d *Directory) Unbind(ctx context.Context, a Account, dev Device, fence uint64) (_ bool, err error) {
	defer d.metrics.observe(opUnbind)(&err)
	if !a.Valid() || dev == 0 || fence == 0 {
		return false, nil
	}
	err = d.presence.remove(ctx, deviceKey(a, dev), fence)
	if errors.Is(err, errRevision) {
		return false, nil
	}
	if err != nil {
		return false, wrap("unbind", err)
	}
	d.left(a, now())
	d.announced(a)
	return true, nil
}

// Bindings lists the bindings of an account whose nodes are alive, by their
// devices. In a cluster they may be a moment old.
func (d *Directory) Bindings(ctx context.Context, a Account) (_ []Binding, err error) {
	defer d.metrics.observe(opBindings)(&err)
	all, err := d.bindings(ctx, a)
	if err != nil {
		return nil, wrap("bindings", err)
	}
	live, err := d.living(ctx, all)
	return live, wrap("bindings", err)
}

// living keeps the bindings whose nodes are alive. The leader is asked about
// nodes of which nothing has been heard, neither that they live nor that they
// died, as of one that has just taken a lease.
func (d *Directory) living(ctx context.Context, all []Binding) ([]Binding, error) {
	var live []Binding
	for _, b := range all {
		alive := d.alive(b.Node)
		if !alive && !d.knownDead(b.Node) {
			var err error
			if alive, err = d.leased(ctx, b.Node); err != nil {
				return nil, err
			}
		}
		if alive {
			live = append(live, b)
		}
	}
	return live, nil
}

// knownDead reports whether the end of a node has been told. The own end is
// known, too.
func (d *Directory) knownDead(incarnation string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, died := d.died[incarnation]
	return died || incarnation == d.incarnation
}

// leased asks the leader whether a node holds a lease.
func (d *Directory) leased(ctx context.Context, incarnation string) (bool, error) {
	_, err := d.nodes.getLeader(ctx, leaseKey(incarnation))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// bindings lists the bindings of an account, void ones, too.
func (d *Directory) bindings(ctx context.Context, a Account) ([]Binding, error) {
	if !a.Valid() {
		return nil, nil
	}
	entries, err := d.presence.list(ctx, string(a)+".*")
	if err != nil {
		return nil, err
	}
	return bindingsOf(entries)
}

func bindingsOf(entries []entry) ([]Binding, error) {
	var all []Binding
	for _, e := range entries {
		b, err := decodeBinding(e.data)
		if err != nil {
			return nil, err
		}
		b.Fence = e.rev
		all = append(all, b)
	}
	slices.SortFunc(all, func(x, y Binding) int { return cmp.Compare(x.Device, y.Device) })
	return all, nil
}

// BindingsConfirmed lists them as the leaders have them, bindings and leases,
// for whoever is about to conclude that a device is away. It costs a request
// for each device of the account.
func (d *Directory) BindingsConfirmed(ctx context.Context, a Account) (_ []Binding, err error) {
	defer d.metrics.observe(opConfirm)(&err)
	if !a.Valid() {
		return nil, nil
	}
	devices, err := d.everyDevice(ctx, a)
	if err != nil {
		return nil, wrap("bindings", err)
	}
	entries := make([]entry, len(devices))
	g, ctx := errgroup.WithContext(ctx)
	for i, dev := range devices {
		g.Go(func() (err error) {
			entries[i], err = d.presence.getLeader(ctx, deviceKey(a, dev))
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, wrap("bindings", err)
	}
	all, err := bindingsOf(slices.DeleteFunc(entries, func(e entry) bool { return e.key == "" }))
	if err != nil {
		return nil, wrap("bindings", err)
	}
	return d.confirm(context.WithoutCancel(ctx), all)
}

// everyDevice lists the names of all devices that can be bound: those that are
// known or bound as some replica has it, and those so new that it may not.
func (d *Directory) everyDevice(ctx context.Context, a Account) ([]Device, error) {
	acct, _, err := d.account(ctx, a)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return d.devicesOf(ctx, acct)
}

// devicesOf is everyDevice for an account that has been read.
func (d *Directory) devicesOf(ctx context.Context, acct AccountRecord) ([]Device, error) {
	a := acct.Account
	devices := map[Device]bool{}
	for _, b := range []*bucket{d.devices, d.presence} {
		entries, err := b.list(ctx, string(a)+".*")
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if _, dev, ok := parseDeviceKey(e.key); ok {
				devices[dev] = true
			}
		}
	}
	for dev, n := acct.LastDevice, 0; dev > 0 && n < newest && !devices[dev]; dev, n = dev-1, n+1 {
		devices[dev] = true
	}
	all := make([]Device, 0, len(devices))
	for dev := range devices {
		all = append(all, dev)
	}
	return all, nil
}

// newest bounds how many devices a replica is thought to lag behind.
const newest = 4

// confirm keeps the bindings whose nodes are alive, which of those that seem
// not to be the leader is asked.
func (d *Directory) confirm(ctx context.Context, all []Binding) ([]Binding, error) {
	var live []Binding
	for _, b := range all {
		alive := d.alive(b.Node)
		if !alive && b.Node != d.Incarnation() {
			var err error
			if alive, err = d.leased(ctx, b.Node); err != nil {
				return nil, wrap("bindings", err)
			}
		}
		if alive {
			live = append(live, b)
		}
	}
	return live, nil
}

// PresenceOf tells whether any device of an account is connected. Of an
// account that is not there it tells that it is not.
func (d *Directory) PresenceOf(ctx context.Context, a Account) (_ Presence, err error) {
	defer d.metrics.observe(opPresence)(&err)
	if !a.Valid() {
		return Presence{}, nil
	}
	all, err := d.bindings(ctx, a)
	if err != nil {
		return Presence{}, wrap("presence", err)
	}
	live, err := d.living(ctx, all)
	if err != nil {
		return Presence{}, wrap("presence", err)
	}
	online := len(live) > 0
	at, err := d.lastSeen(ctx, a)
	if err != nil {
		return Presence{}, wrap("presence", err)
	}
	if !online {
		at = d.endOf(all, at)
	}
	return Presence{Online: online, LastSeen: at}, nil
}

// endOf is the latest of at and of the ends of void bindings, as far as they
// are known. So a crash shows in last seen before the janitor has written it
// down.
func (d *Directory) endOf(void []Binding, at time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range void {
		if end := d.died[b.Node]; end.After(at) {
			at = end
		}
	}
	return at
}
