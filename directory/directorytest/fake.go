package directorytest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
)

// World is what the fakes of several nodes share. It starts no goroutine and
// reads the clock only through package time, so it lives inside a
// testing/synctest bubble.
type World struct {
	mu       sync.Mutex
	numbers  map[e164.Number]directory.Account
	accounts map[directory.Account]*account
	nodes    map[string]*Fake
	watches  map[*watcher]struct{}
	revision uint64
	made     int // accounts, also those that are gone

	lookedIdle time.Time // when idle devices were last looked for
	lookedBy   *Fake
}

type account struct {
	record   directory.AccountRecord
	devices  map[directory.Device]directory.DeviceRecord
	bindings map[directory.Device]directory.Binding
	seen     time.Time
	people   people
}

// NewWorld returns an empty world.
func NewWorld() *World {
	return &World{
		numbers: map[e164.Number]directory.Account{}, accounts: map[directory.Account]*account{}, nodes: map[string]*Fake{},
		watches: map[*watcher]struct{}{},
	}
}

// Fake is one node's view of a [World].
type Fake struct {
	world    *World
	name     string
	answer   func(context.Context, directory.Request) ([]byte, error)
	regained func(context.Context)

	// Guarded by world.mu.
	dead     bool
	draining bool
	turns    map[directory.Account]chan struct{} // holds one while a request is handled
}

// New returns the only node of a world of its own.
func New() *Fake { return NewWorld().Node("fake") }

// Node adds a node whose lease holds until [Fake.Die].
func (w *World) Node(name string) *Fake {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := &Fake{world: w, name: name, turns: map[directory.Account]chan struct{}{}}
	w.nodes[name] = f
	return f
}

// Die lets the node's lease lapse: its bindings are void, and nobody reaches
// it.
func (f *Fake) Die() {
	f.world.mu.Lock()
	defer f.world.changed("")
	defer f.world.mu.Unlock()
	f.dead = true
	for _, acct := range f.world.accounts {
		for _, b := range acct.bindings {
			if b.Node == f.name {
				acct.seen = time.Now()
			}
		}
	}
}

// Regain gives a node that has died another lease, as another incarnation.
func (f *Fake) Regain() {
	f.world.mu.Lock()
	delete(f.world.nodes, f.name)
	f.name += "-again"
	f.world.nodes[f.name] = f
	f.dead = false
	f.world.mu.Unlock()
	if f.regained != nil {
		f.regained(context.Background())
	}
}

// LoseMemory loses what the store has in memory alone: the bindings, and how
// far their revisions were.
func (w *World) LoseMemory() {
	w.mu.Lock()
	defer w.changed("")
	defer w.mu.Unlock()
	w.revision = 0
	for _, acct := range w.accounts {
		clear(acct.bindings)
	}
}

// OnLease sets what [Fake.Regain] calls.
func (f *Fake) OnLease(regained func(context.Context)) { f.regained = regained }

// NodeList lists the nodes that are not dead.
func (f *Fake) NodeList() []directory.NodeInfo {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	var all []directory.NodeInfo
	for _, name := range slices.Sorted(maps.Keys(f.world.nodes)) {
		if n := f.world.nodes[name]; !n.dead {
			all = append(all, directory.NodeInfo{Incarnation: name, Lease: directory.Lease{V: 1, Node: name, Draining: n.draining}})
		}
	}
	return all
}

// SetDraining says whether the node sends its devices elsewhere.
func (f *Fake) SetDraining(on bool) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	f.draining = on
}

// Incarnation is the node's name.
func (f *Fake) Incarnation() string {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	return f.name
}

// Answer sets who handles requests, before the first one. They are handled in
// the goroutine of who asks.
func (f *Fake) Answer(h func(context.Context, directory.Request) ([]byte, error)) { f.answer = h }

// Ask calls the handler of another node, when it is the account's turn.
func (f *Fake) Ask(ctx context.Context, node string, r directory.Request) ([]byte, error) {
	if r.Account != "" && !r.Account.Valid() {
		return nil, directory.ErrNotFound
	}
	f.world.mu.Lock()
	other := f.world.nodes[node]
	if other == nil || other.dead || other.answer == nil {
		f.world.mu.Unlock()
		return nil, directory.ErrGone
	}
	turn := other.turns[r.Account]
	if turn == nil {
		turn = make(chan struct{}, 1)
		other.turns[r.Account] = turn
	}
	f.world.mu.Unlock()
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
		return other.answer(ctx, r)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", directory.ErrUnavailable, context.Cause(ctx))
	}
}

// Register finds or makes the account of a number.
func (f *Fake) Register(_ context.Context, n e164.Number) (directory.AccountRecord, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	if n.IsZero() {
		return directory.AccountRecord{}, directory.ErrNotFound
	}
	if a, ok := f.world.numbers[n]; ok {
		return f.world.accounts[a].record, nil
	}
	if a, ok := f.world.resolve(n); ok {
		acct := f.world.accounts[a]
		delete(f.world.numbers, acct.record.Number)
		f.world.numbers[n], acct.record.Number = a, n
		return acct.record, nil
	}
	f.world.made++
	a := directory.Account(fmt.Sprintf("%013d", f.world.made))
	f.world.numbers[n] = a
	rec := directory.AccountRecord{V: 1, Account: a, Number: n, Created: time.Now()}
	f.world.accounts[a] = &account{record: rec, devices: map[directory.Device]directory.DeviceRecord{}, bindings: map[directory.Device]directory.Binding{}}
	return rec, nil
}

// Resolve finds the account of a number.
func (f *Fake) Resolve(_ context.Context, n e164.Number) (directory.Account, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	a, ok := f.world.resolve(n)
	if !ok {
		return "", directory.ErrNotFound
	}
	return a, nil
}

// resolve finds the account of a number in any of its forms.
func (w *World) resolve(n e164.Number) (directory.Account, bool) {
	for _, form := range forms(n) {
		if a, ok := w.numbers[form]; ok {
			return a, true
		}
	}
	return "", false
}

func forms(n e164.Number) []e164.Number { return append([]e164.Number{n}, e164.Alternates(n)...) }

// AccountOf returns an account's record.
func (f *Fake) AccountOf(_ context.Context, a directory.Account) (directory.AccountRecord, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	if acct := f.world.accounts[a]; acct != nil {
		return acct.record, nil
	}
	return directory.AccountRecord{}, directory.ErrNotFound
}

// AddDevice gives an account a device.
func (f *Fake) AddDevice(_ context.Context, a directory.Account, name, external string) (directory.DeviceRecord, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	acct := f.world.accounts[a]
	if acct == nil {
		return directory.DeviceRecord{}, directory.ErrNotFound
	}
	for _, d := range acct.devices {
		if external != "" && d.External == external {
			return d, nil
		}
	}
	if len(acct.devices) >= directory.MaxDevices {
		return directory.DeviceRecord{}, directory.ErrTooMany
	}
	acct.record.LastDevice++
	d := directory.DeviceRecord{
		V: 1, Account: a, Device: acct.record.LastDevice, Name: name, External: external, Created: time.Now(),
		Token: directory.TokenState{Generation: 1, Rotated: time.Now()},
	}
	acct.devices[d.Device] = d
	return d, nil
}

// DeviceOf returns a device's record.
func (f *Fake) DeviceOf(_ context.Context, a directory.Account, dev directory.Device) (directory.DeviceRecord, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	return f.world.device(a, dev)
}

func (w *World) device(a directory.Account, dev directory.Device) (directory.DeviceRecord, error) {
	if acct := w.accounts[a]; acct != nil {
		if d, ok := acct.devices[dev]; ok {
			return d, nil
		}
	}
	return directory.DeviceRecord{}, directory.ErrNotFound
}

// Devices lists an account's devices.
func (f *Fake) Devices(_ context.Context, a directory.Account) ([]directory.DeviceRecord, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	acct := f.world.accounts[a]
	if acct == nil {
		return nil, nil
	}
	var all []directory.DeviceRecord
	for _, d := range acct.devices {
		all = append(all, d)
	}
	slices.SortFunc(all, func(x, y directory.DeviceRecord) int { return int(x.Device) - int(y.Device) })
	return all, nil
}

// UpdateDevice changes a device's record. change must not use the fake.
func (f *Fake) UpdateDevice(_ context.Context, a directory.Account, dev directory.Device, change func(*directory.DeviceRecord) error) (directory.DeviceRecord, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	d, err := f.world.device(a, dev)
	if err != nil {
		return directory.DeviceRecord{}, err
	}
	was := d
	if err := change(&d); err != nil {
		return directory.DeviceRecord{}, err
	}
	d.V, d.Account, d.Device, d.External = was.V, was.Account, was.Device, was.External
	f.world.accounts[a].devices[dev] = d
	return d, nil
}

// RemoveDevice removes a device.
func (f *Fake) RemoveDevice(_ context.Context, a directory.Account, dev directory.Device) error {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	if acct := f.world.accounts[a]; acct != nil {
		delete(acct.devices, dev)
	}
	return nil
}

// Bind records that a device is connected to this node.
func (f *Fake) Bind(_ context.Context, a directory.Account, dev directory.Device, conn string) (uint64, *directory.Binding, error) {
	f.world.mu.Lock()
	defer f.world.changed(a)
	defer f.world.mu.Unlock()
	acct := f.world.accounts[a]
	switch {
	case acct == nil || dev == 0:
		return 0, nil, directory.ErrNotFound
	case f.dead:
		return 0, nil, directory.ErrLeaseLost
	}
	var prev *directory.Binding
	if b, ok := acct.bindings[dev]; ok {
		prev = &b
	}
	f.world.revision++
	acct.bindings[dev] = directory.Binding{
		V: 1, Account: a, Device: dev, Node: f.name, Conn: conn, Since: time.Now(), Fence: f.world.revision,
	}
	return f.world.revision, prev, nil
}

// Rebind records a binding again.
func (f *Fake) Rebind(_ context.Context, a directory.Account, dev directory.Device, conn string, since time.Time) (uint64, *directory.Binding, error) {
	f.world.mu.Lock()
	defer f.world.changed(a)
	defer f.world.mu.Unlock()
	if _, err := f.world.device(a, dev); err != nil {
		return 0, nil, err
	}
	if f.dead {
		return 0, nil, directory.ErrLeaseLost
	}
	b := directory.Binding{V: 1, Account: a, Device: dev, Node: f.name, Conn: conn, Since: since, Rebound: true}
	var prev *directory.Binding
	if was, ok := f.world.accounts[a].bindings[dev]; ok {
		if !b.Displaces(was) {
			return 0, nil, directory.ErrReplaced
		}
		if was.Conn == conn {
			b.Rebound = was.Rebound
		} else {
			prev = &was
		}
	}
	f.world.revision++
	b.Fence = f.world.revision
	f.world.accounts[a].bindings[dev] = b
	return b.Fence, prev, nil
}

// Unbind removes a binding if it is still the newest.
func (f *Fake) Unbind(_ context.Context, a directory.Account, dev directory.Device, fence uint64) (bool, error) {
	f.world.mu.Lock()
	defer f.world.changed(a)
	defer f.world.mu.Unlock()
	acct := f.world.accounts[a]
	if acct == nil || fence == 0 || acct.bindings[dev].Fence != fence {
		return false, nil
	}
	delete(acct.bindings, dev)
	acct.seen = time.Now()
	return true, nil
}

// Bindings lists the bindings whose nodes live.
func (f *Fake) Bindings(_ context.Context, a directory.Account) ([]directory.Binding, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	return f.world.bindings(a), nil
}

func (w *World) bindings(a directory.Account) []directory.Binding {
	acct := w.accounts[a]
	if acct == nil {
		return nil
	}
	var all []directory.Binding
	for _, b := range acct.bindings {
		if n := w.nodes[b.Node]; n != nil && !n.dead {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(x, y directory.Binding) int { return int(x.Device) - int(y.Device) })
	return all
}

// BindingsConfirmed is the same: the fake is never stale.
func (f *Fake) BindingsConfirmed(ctx context.Context, a directory.Account) ([]directory.Binding, error) {
	return f.Bindings(ctx, a)
}

// PresenceOf tells whether any device of an account is connected.
func (f *Fake) PresenceOf(_ context.Context, a directory.Account) (directory.Presence, error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	p := directory.Presence{Online: len(f.world.bindings(a)) > 0}
	if acct := f.world.accounts[a]; acct != nil {
		p.LastSeen = acct.seen
	}
	return p, nil
}
