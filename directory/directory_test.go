package directory_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDirectory(t *testing.T) {
	directorytest.Run(t, func(tb testing.TB) directorytest.Nodes {
		n := directorytest.NATS(tb)
		return func(name string, answer func(context.Context, directory.Request) ([]byte, error)) directorytest.Directory {
			return directorytest.OpenWith(tb, n, name, nil, answer)
		}
	})
}

// secret is what directorytest opens a directory with.
var secret = []byte("0123456789abcdef")

func number(t testing.TB, i int) e164.Number {
	t.Helper()
	return directorytest.Number(t, i)
}

func device(t testing.TB, d *directory.Directory, i int) (directory.Account, directory.Device) {
	t.Helper()
	rec, err := d.Register(t.Context(), number(t, i))
	if err != nil {
		t.Fatal(err)
	}
	dev, err := d.AddDevice(t.Context(), rec.Account, "phone", "")
	if err != nil {
		t.Fatal(err)
	}
	return rec.Account, dev.Device
}

func TestRestartKeepsAccounts(t *testing.T) {
	dir := t.TempDir()
	n := directorytest.NATSIn(t, dir)
	acct, dev := device(t, directorytest.OpenOnly(t, n, "n1", nil), 1)
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := directorytest.Open(t, directorytest.NATSIn(t, dir), "n1", nil)
	if got, err := d.Resolve(t.Context(), number(t, 1)); got != acct || err != nil {
		t.Errorf("resolve = %s, %v", got, err)
	}
	if _, err := d.DeviceOf(t.Context(), acct, dev); err != nil {
		t.Error(err)
	}
}

// The numbers are nowhere in subjects, which is what monitoring shows.
func TestNumbersAreNotInSubjects(t *testing.T) {
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", nil)
	acct, dev := device(t, d, 1)
	if _, _, err := d.Bind(t.Context(), acct, dev, "c"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ACCT", "DEVS", "PRES", "NODES", "SEEN"} {
		kv, err := n.JetStream().KeyValue(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := kv.Keys(t.Context())
		if name != "SEEN" && err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, k := range keys {
			if strings.Contains(k, "415555") {
				t.Errorf("%s has the key %s", name, k)
			}
		}
	}
}

// When a node dies without a word, its devices are offline once its lease has
// lapsed, and the others need not write anything for that.
func TestLapsedLeaseVoidsBindings(t *testing.T) {
	n := directorytest.NATS(t)
	short := func(c *directory.Config) { c.LeaseTTL, c.RenewEvery = 2*time.Second, 500*time.Millisecond }
	d := directorytest.Open(t, n, "n1", short)
	acct, dev := device(t, d, 1)

	other := directorytest.NATSConn(t, n) // its connection dies with it
	dying := directorytest.OpenOn(t, n, other, "n2", short)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- dying.Run(ctx) }()
	<-dying.Started()
	if _, _, err := dying.Bind(t.Context(), acct, dev, "c"); err != nil {
		t.Fatal(err)
	}
	await(t, "the other node is known", func() bool {
		b, err := d.Bindings(t.Context(), acct)
		return err == nil && len(b) == 1
	})
	if _, err := d.Ask(t.Context(), dying.Incarnation(), directory.Request{Kind: "x", Account: acct}); errors.Is(err, directory.ErrGone) {
		t.Errorf("the living node is gone: %v", err)
	}
	other.Close() // as a process that is killed
	await(t, "its binding is void", func() bool {
		b, err := d.Bindings(t.Context(), acct)
		return err == nil && len(b) == 0
	})
	if _, err := d.Ask(t.Context(), dying.Incarnation(), directory.Request{Kind: "x", Account: acct}); !errors.Is(err, directory.ErrGone) {
		t.Errorf("asking the dead node: %v", err)
	}
	// And it knows itself that it counts as dead.
	select {
	case err := <-ended:
		if !errors.Is(err, directory.ErrLeaseLost) {
			t.Errorf("ended with %v, want the lease lost", err)
		}
	case <-time.After(time.Minute):
		t.Error("a node without a lease goes on")
	}
	cancel()
}

// await polls what another goroutine brings about; there is no event to wait
// for on this side of NATS.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not in 30 seconds: %s", what)
		case <-tick.C:
		}
	}
}

func TestLastSeenIsWrittenDown(t *testing.T) {
	dir := t.TempDir()
	n := directorytest.NATSIn(t, dir)
	d := directorytest.OpenOnly(t, n, "n1", nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	<-d.Started()
	acct, dev := device(t, d, 1)
	f, _, err := d.Bind(t.Context(), acct, dev, "c")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Unbind(t.Context(), acct, dev, f); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	d = directorytest.Open(t, directorytest.NATSIn(t, dir), "n1", nil)
	if p, err := d.PresenceOf(t.Context(), acct); err != nil || p.LastSeen.IsZero() {
		t.Errorf("presence after a restart = %+v, %v", p, err)
	}
}

func TestConfig(t *testing.T) {
	c := directory.Default()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.LeaseTTL, c.RequestTimeout = time.Second, 0
	err := c.Validate()
	for _, key := range []string{"directory.lease_ttl", "directory.renew_every", "directory.request_timeout"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}
