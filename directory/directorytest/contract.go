package directorytest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
)

// Directory is what the contract is about: a node's view.
type Directory interface {
	Incarnation() string
	Register(ctx context.Context, n e164.Number) (directory.AccountRecord, error)
	Resolve(ctx context.Context, n e164.Number) (directory.Account, error)
	AccountOf(ctx context.Context, a directory.Account) (directory.AccountRecord, error)
	AddDevice(ctx context.Context, a directory.Account, name, external string) (directory.DeviceRecord, error)
	DeviceOf(ctx context.Context, a directory.Account, dev directory.Device) (directory.DeviceRecord, error)
	Devices(ctx context.Context, a directory.Account) ([]directory.DeviceRecord, error)
	UpdateDevice(ctx context.Context, a directory.Account, dev directory.Device, change func(*directory.DeviceRecord) error) (directory.DeviceRecord, error)
	RemoveDevice(ctx context.Context, a directory.Account, dev directory.Device) error
	DeviceSeen(ctx context.Context, a directory.Account, dev directory.Device, at time.Time) error
	SetPush(ctx context.Context, a directory.Account, dev directory.Device, target json.RawMessage) error
	DropPush(ctx context.Context, a directory.Account, dev directory.Device, target json.RawMessage) error
	DeviceMissed(ctx context.Context, a directory.Account, dev directory.Device, at time.Time) error
	DeviceToldMissed(ctx context.Context, a directory.Account, dev directory.Device, at time.Time) error
	IdleDevices(ctx context.Context, since time.Time, every time.Duration, f func(context.Context, directory.DeviceRecord) error) (bool, error)
	Bind(ctx context.Context, a directory.Account, dev directory.Device, conn string) (uint64, *directory.Binding, error)
	Unbind(ctx context.Context, a directory.Account, dev directory.Device, fence uint64) (bool, error)
	Rebind(ctx context.Context, a directory.Account, dev directory.Device, conn string, since time.Time) (uint64, *directory.Binding, error)
	Bindings(ctx context.Context, a directory.Account) ([]directory.Binding, error)
	BindingsConfirmed(ctx context.Context, a directory.Account) ([]directory.Binding, error)
	PresenceOf(ctx context.Context, a directory.Account) (directory.Presence, error)
	UpdateSettings(ctx context.Context, a directory.Account, change func(*directory.Settings) error) (directory.Settings, error)
	AddContacts(ctx context.Context, owner directory.Account, numbers []e164.Number) error
	SetContacts(ctx context.Context, owner directory.Account, numbers []e164.Number) error
	RemoveContacts(ctx context.Context, owner directory.Account, numbers []e164.Number) error
	Block(ctx context.Context, owner directory.Account, n e164.Number) error
	Unblock(ctx context.Context, owner directory.Account, n e164.Number) error
	Blocks(ctx context.Context, owner directory.Account) ([]e164.Number, error)
	KnownAndBlocked(ctx context.Context, owner directory.Account) (contacts, blocks int, err error)
	Relation(ctx context.Context, owner, peer directory.Account, peerNumber e164.Number) (directory.Relation, error)
	ResolveAll(ctx context.Context, numbers []e164.Number) ([]directory.Account, error)
	LookUp(ctx context.Context, numbers []e164.Number) ([]directory.Account, error)
	Presences(ctx context.Context, accounts []directory.Account) ([]directory.Presence, error)
	MoveNumber(ctx context.Context, a directory.Account, to e164.Number) (directory.AccountRecord, error)
	DeleteAccount(ctx context.Context, a directory.Account) error
	Announce(a directory.Account) error
	Watch(a directory.Account, changed func()) (stop func(), err error)
	Ask(ctx context.Context, node string, r directory.Request) ([]byte, error)
	NodeList() []directory.NodeInfo
	SetDraining(on bool)
}

// Handler handles the requests to a node.
type Handler = func(context.Context, directory.Request) ([]byte, error)

// Nodes opens nodes of one world. A node whose handler is nil answers nobody.
type Nodes func(name string, answer Handler) Directory

// Run tests the contract. open makes a new world for each test.
func Run(t *testing.T, open func(tb testing.TB) Nodes) { run(t, open, false) }

// RunLagging tests the contract of a directory whose reads may lag, where
// their documentation says so, as in a cluster.
func RunLagging(t *testing.T, open func(tb testing.TB) Nodes) { run(t, open, true) }

func run(t *testing.T, open func(tb testing.TB) Nodes, lags bool) {
	for _, c := range []struct {
		name string
		test func(*testing.T, world)
	}{
		{"numbers", numbers},
		{"register race", registerRace},
		{"devices", devices},
		{"device race", deviceRace},
		{"external race", externalRace},
		{"too many devices", tooManyDevices},
		{"idle devices", idleDevices},
		{"missed", missed},
		{"push targets", pushTargets},
		{"update", update},
		{"update race", updateRace},
		{"fence", fence},
		{"bind race", bindRace},
		{"rebind", rebind},
		{"rebind of what was lost", rebindLost},
		{"presence", presence},
		{"no account", noAccount},
		{"move", move},
		{"move race", moveRace},
		{"delete", deleted},
		{"delete race", deleteRace},
		{"renumbered", renumbered},
		{"watch", watch},
		{"contacts", contacts},
		{"contact race", contactRace},
		{"blocks", blocks},
		{"settings", settings},
		{"look up", lookUp},
		{"presences", presences},
		{"nodes", nodes},
		{"ask", ask},
		{"one account in order", oneAccountInOrder},
		{"accounts in parallel", accountsInParallel},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, world{open(t), lags}) })
	}
}

// world is what a test of the contract gets.
type world struct {
	node Nodes
	lags bool
}

// eventually wants ok to hold soon, whatever the world.
func (w world) eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	w.lags = true
	w.soon(t, what, ok)
}

// soon wants ok to hold: at once, or soon where reads may lag.
func (w world) soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if ok() {
		return
	}
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for w.lags {
		select {
		case <-deadline:
			t.Fatalf("not in 10 seconds: %s", what)
		case <-tick.C:
			if ok() {
				return
			}
		}
	}
	t.Errorf("not so: %s", what)
}

func number(t *testing.T, i int) e164.Number {
	t.Helper()
	return Number(t, i)
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
