package directory_test

import (
	"context"
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
	t.Parallel()
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
