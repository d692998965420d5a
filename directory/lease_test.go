package directory_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/natsnode"
)

// short makes leases short, for tests that wait for their end.
func short(c *directory.Config) { c.LeaseTTL, c.RenewEvery = 4*time.Second, 250*time.Millisecond }

// doomed is a node on a connection of its own.
type doomed struct {
	*directory.Directory
	conn  *nats.Conn
	ended chan error
}

func runDoomed(t *testing.T, n *natsnode.Node, name string) doomed {
	t.Helper()
	d := doomed{conn: directorytest.NATSConn(t, n), ended: make(chan error, 1)}
	d.Directory = directorytest.OpenOn(t, n, d.conn, name, short)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.ended <- d.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-d.Started():
	case <-done:
		t.Fatalf("did not start: %v", <-d.ended)
	}
	return d
}

// lost wants the node to know that it has lost its lease.
func (d doomed) lost(t *testing.T) {
	t.Helper()
	await(t, "the node knows that its lease is lost", func() bool { return errors.Is(d.Ready(), directory.ErrLeaseLost) })
	if _, _, err := d.Bind(t.Context(), acct1, 1, "c"); !errors.Is(err, directory.ErrLeaseLost) {
		t.Errorf("bind without a lease: %v", err)
	}
	if _, _, err := d.Rebind(t.Context(), acct1, 1, "c", time.Now()); !errors.Is(err, directory.ErrLeaseLost) {
		t.Errorf("rebind without a lease: %v", err)
	}
	if nodes := d.Nodes(); slices.Contains(nodes, d.Incarnation()) {
		t.Errorf("without a lease, it lists itself among %v", nodes)
	}
}

// When a node dies without a word, its devices are offline once its lease has
// lapsed. It knows so itself, and another cleans up after it.
func TestDeadNode(t *testing.T) {
	t.Parallel()
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", short)
	acct, dev := device(t, d, 1)
	ctx := t.Context()
	dying := runDoomed(t, n, "n2")
	if _, _, err := dying.Bind(ctx, acct, dev, "c"); err != nil {
		t.Fatal(err)
	}
	bound := func() bool {
		b, err := d.Bindings(ctx, acct)
		return err == nil && len(b) == 1
	}
	await(t, "the other node is known", func() bool {
		return bound() && slices.Equal(d.Nodes(), []string{d.Incarnation(), dying.Incarnation()})
	})
	request := directory.Request{Kind: "x", Account: acct}
	if _, err := d.Ask(ctx, dying.Incarnation(), request); err == nil || errors.Is(err, directory.ErrGone) {
		t.Errorf("asking the living node: %v", err)
	}

	cut := time.Now()
	dying.conn.Close() // as a process that is killed
	if !bound() {
		t.Error("the binding was void before the lease lapsed")
	}
	await(t, "the node is gone", func() bool {
		_, err := d.Ask(ctx, dying.Incarnation(), request)
		return errors.Is(err, directory.ErrGone)
	})
	dying.lost(t)
	await(t, "its binding is void", func() bool { return !bound() })
	if b, err := d.BindingsConfirmed(ctx, acct); err != nil || len(b) != 0 {
		t.Errorf("confirmed = %+v, %v", b, err)
	}
	p, err := d.PresenceOf(ctx, acct)
	if err != nil || p.Online || p.LastSeen.Before(cut.Add(-time.Second)) {
		t.Errorf("presence = %+v, %v, cut at %v", p, err, cut)
	}
	kv := bucket(t, n, "PRES")
	await(t, "the binding is swept up", func() bool {
		_, err := kv.Get(ctx, directory.DeviceKey(acct, dev))
		return errors.Is(err, jetstream.ErrKeyNotFound)
	})
	await(t, "it is written down when the account was last seen", func() bool {
		_, err := bucket(t, n, "SEEN").Get(ctx, string(acct))
		return err == nil
	})
	if after, err := d.PresenceOf(ctx, acct); err != nil || after.Online || after.LastSeen.Before(p.LastSeen) {
		t.Errorf("presence was %+v and is %+v, %v", p, after, err)
	}
}

// The janitor leaves what living nodes have, and a device that is back.
func TestSweepLeavesTheLiving(t *testing.T) {
	t.Parallel()
	n := directorytest.NATS(t)
	a := directorytest.Open(t, n, "n1", short)
	ctx := t.Context()
	acct, dev := device(t, a, 1)
	moved, err := a.AddDevice(ctx, acct, "moved", "")
	if err != nil {
		t.Fatal(err)
	}
	orphan, err := a.AddDevice(ctx, acct, "orphan", "")
	if err != nil {
		t.Fatal(err)
	}
	dying := runDoomed(t, n, "n2")
	for _, bind := range []struct {
		d   *directory.Directory
		dev directory.Device
	}{{a, dev}, {dying.Directory, moved.Device}, {dying.Directory, orphan.Device}, {a, moved.Device}} {
		if _, _, err := bind.d.Bind(ctx, acct, bind.dev, "c"); err != nil {
			t.Fatal(err)
		}
	}
	dying.conn.Close()
	dying.lost(t)
	kv := bucket(t, n, "PRES")
	await(t, "the orphan is swept up", func() bool {
		_, err := kv.Get(ctx, directory.DeviceKey(acct, orphan.Device))
		return errors.Is(err, jetstream.ErrKeyNotFound)
	})
	await(t, "the sweep is over", func() bool {
		_, err := bucket(t, n, "NODES").Get(ctx, directory.SweepKey)
		return errors.Is(err, jetstream.ErrKeyNotFound)
	})
	if b, err := a.Bindings(ctx, acct); err != nil || len(b) != 2 || b[0].Device != dev || b[1].Device != moved.Device {
		t.Errorf("bindings = %+v, %v", b, err)
	}
	if _, err := bucket(t, n, "SEEN").Get(ctx, string(acct)); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("an account that is online was noted as gone: %v", err)
	}
}

// A device that comes back while the janitor is at it stays.
func TestSweepIsFenced(t *testing.T) {
	n := directorytest.NATS(t)
	a := directorytest.Open(t, n, "n1", nil)
	ending := directorytest.OpenOnly(t, n, "n2", nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ending.Run(ctx) }()
	<-ending.Started()
	acct, dev := device(t, a, 1)
	if _, _, err := ending.Bind(t.Context(), acct, dev, "old"); err != nil {
		t.Fatal(err)
	}
	err := directory.SweepLate(t.Context(), a, func() {
		if _, _, err := a.Bind(t.Context(), acct, dev, "new"); err != nil {
			t.Error(err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Error(err)
	}
	if b, err := a.BindingsConfirmed(t.Context(), acct); err != nil || len(b) != 1 || b[0].Conn != "new" {
		t.Errorf("bindings = %+v, %v", b, err)
	}
}

// A node that does not hear of another, as after a long pause of NATS, asks the
// leader before it concludes that the other is dead.
func TestUnheardIsNotDead(t *testing.T) {
	n := directorytest.NATS(t)
	d, other := directorytest.Open(t, n, "n1", nil), directorytest.Open(t, n, "n2", nil)
	acct, dev := device(t, d, 1)
	if _, _, err := other.Bind(t.Context(), acct, dev, "c"); err != nil {
		t.Fatal(err)
	}
	directory.Forget(d, other.Incarnation())
	if b, err := d.BindingsConfirmed(t.Context(), acct); err != nil || len(b) != 1 {
		t.Errorf("confirmed = %+v, %v", b, err)
	}
	directory.Forget(d, other.Incarnation())
	if err := directory.SweepLate(t.Context(), d, func() {}); err != nil {
		t.Error(err)
	}
	if b, err := other.Bindings(t.Context(), acct); err != nil || len(b) != 1 {
		t.Errorf("a living node's binding was swept up: %+v, %v", b, err)
	}
}

// A node that has lost its lease takes another, as another incarnation, and
// binds anew what it still has, unless that has moved meanwhile.
func TestLeaseRegained(t *testing.T) {
	n := directorytest.NATS(t)
	other := directorytest.Open(t, n, "n2", short)
	acct, dev := device(t, other, 1)
	moved, err := other.AddDevice(t.Context(), acct, "moved", "")
	if err != nil {
		t.Fatal(err)
	}
	swept, err := other.AddDevice(t.Context(), acct, "swept", "")
	if err != nil {
		t.Fatal(err)
	}
	d := directorytest.OpenOnly(t, n, "n1", short)
	regained := make(chan string, 10)
	d.OnLease(func(context.Context) { regained <- d.Incarnation() })
	d.Answer(func(context.Context, directory.Request) ([]byte, error) { return []byte("here"), nil })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	}()
	<-d.Started()
	since := time.Now().Add(-time.Minute)
	var fence uint64
	for _, dev := range []directory.Device{dev, moved.Device, swept.Device} {
		if fence, _, err = d.Bind(ctx, acct, dev, "mine"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := other.Bind(ctx, acct, moved.Device, "theirs"); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Unbind(ctx, acct, swept.Device, fence); err != nil { // as the janitor does
		t.Fatal(err)
	}
	was := d.Incarnation()
	if err := bucket(t, n, "NODES").Purge(ctx, directory.LeaseKey(was)); err != nil {
		t.Fatal(err)
	}
	select {
	case is := <-regained:
		if is == was {
			t.Error("it is the same incarnation")
		}
	case <-time.After(time.Minute):
		t.Fatal("no other lease")
	}
	for dev, want := range map[directory.Device]bool{dev: true, moved.Device: false, swept.Device: true} {
		fence, prev, err := d.Rebind(ctx, acct, dev, "mine", since)
		if errors.Is(err, directory.ErrReplaced) == want || (fence != 0) != want || prev != nil {
			t.Errorf("device %d bound anew: fence %d, in place of %+v, %v; want %v", dev, fence, prev, err, want)
		}
	}
	if _, err := other.Ask(ctx, was, directory.Request{Kind: "x", Account: acct}); !errors.Is(err, directory.ErrGone) {
		t.Errorf("the incarnation before answers: %v", err)
	}
	await(t, "all are found where they are", func() bool {
		all, err := other.Bindings(ctx, acct)
		if err != nil || len(all) != 3 {
			return false
		}
		for _, b := range all {
			node, conn := d.Incarnation(), "mine"
			if b.Device == moved.Device {
				node, conn = other.Incarnation(), "theirs"
			}
			if b.Node != node || b.Conn != conn {
				return false
			}
			if _, err := other.Ask(ctx, b.Node, directory.Request{Kind: "x", Account: acct}); errors.Is(err, directory.ErrGone) {
				return false
			}
		}
		return true
	})
}

// A node notices that NATS has lost what it had in memory long before its lease
// would end, be it the bindings alone, and has them made anew.
func TestMemoryLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lose func(ctx context.Context, js jetstream.JetStream) error
	}{
		{"what is bound", func(ctx context.Context, js jetstream.JetStream) error {
			s, err := js.Stream(ctx, "KV_PRES")
			if err != nil {
				return err
			}
			return s.Purge(ctx)
		}},
		{"the bindings' bucket", func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, "KV_PRES") }},
		{"the leases' bucket", func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, "KV_NODES") }},
		{"both", func(ctx context.Context, js jetstream.JetStream) error {
			return errors.Join(js.DeleteStream(ctx, "KV_PRES"), js.DeleteStream(ctx, "KV_NODES"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := directorytest.NATS(t)
			d := directorytest.OpenOnly(t, n, "n1", func(c *directory.Config) { c.LeaseTTL, c.RenewEvery = time.Minute, 200*time.Millisecond })
			again := make(chan struct{}, 10)
			acct, dev := device(t, d, 1)
			d.OnLease(func(ctx context.Context) {
				if _, _, err := d.Rebind(ctx, acct, dev, "c", time.Now()); err != nil {
					t.Error(err)
				}
				again <- struct{}{}
			})
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- d.Run(ctx) }()
			defer func() { stop(); <-ended }()
			<-d.Started()
			if _, _, err := d.Bind(ctx, acct, dev, "c"); err != nil {
				t.Fatal(err)
			}
			if err := c.lose(ctx, n.JetStream()); err != nil {
				t.Fatal(err)
			}
			select {
			case <-again:
			case <-time.After(30 * time.Second):
				t.Fatal("the node did not notice")
			}
			if b, err := d.BindingsConfirmed(ctx, acct); err != nil || len(b) != 1 || b[0].Node != d.Incarnation() {
				t.Errorf("bindings = %+v, %v", b, err)
			}
			renewed := d.Incarnation()
			for range 3 {
				e, err := bucket(t, n, "NODES").Get(ctx, directory.LeaseKey(renewed))
				if err != nil {
					t.Fatal(err)
				}
				await(t, "the lease is renewed", func() bool {
					next, err := bucket(t, n, "NODES").Get(ctx, directory.LeaseKey(renewed))
					return err == nil && next.Revision() > e.Revision()
				})
			}
			if len(again) > 0 {
				t.Error("and did it once more")
			}
		})
	}
}

// The janitor leaves nothing of a node that died, in memory or elsewhere.
func TestNothingIsLeftOfADeadNode(t *testing.T) {
	t.Parallel()
	n := directorytest.NATS(t)
	directorytest.Open(t, n, "n1", short)
	dying := runDoomed(t, n, "n2")
	key := directory.LeaseKey(dying.Incarnation())
	kv := bucket(t, n, "PRES")
	if _, err := kv.Get(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	dying.conn.Close()
	await(t, "it is swept up", func() bool {
		_, err := kv.Get(t.Context(), key)
		return errors.Is(err, jetstream.ErrKeyNotFound)
	})
}

// What a node sent before it was paused comes too late when the device has
// connected elsewhere meanwhile.
func TestBindThatComesLate(t *testing.T) {
	n := directorytest.NATS(t)
	paused, other := directorytest.Open(t, n, "n1", nil), directorytest.Open(t, n, "n2", nil)
	acct, dev := device(t, other, 1)
	for _, conn := range []string{"first", "second"} {
		err := directory.BindLate(t.Context(), paused, acct, dev, func() {
			if _, _, err := other.Bind(t.Context(), acct, dev, conn); err != nil {
				t.Error(err)
			}
		})
		if err == nil {
			t.Error("it came through")
		}
		if b, err := other.BindingsConfirmed(t.Context(), acct); err != nil || len(b) != 1 || b[0].Conn != conn {
			t.Errorf("bindings = %+v, %v", b, err)
		}
	}
}

// A renewal whose answer was lost is taken for what it is.
func TestLostAnswerToARenewal(t *testing.T) {
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", short)
	kv := bucket(t, n, "NODES")
	key := directory.LeaseKey(d.Incarnation())
	e, err := kv.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := kv.Put(t.Context(), key, e.Value())
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the lease is renewed twice", func() bool {
		e, err := kv.Get(t.Context(), key)
		return err == nil && e.Revision() > rev+1
	})
	if err := d.Ready(); err != nil {
		t.Errorf("ready = %v", err)
	}
}

// Leases and bindings last as long as the node renews, and go with it when it
// ends in order.
func TestLeaseIsGivenBack(t *testing.T) {
	t.Parallel()
	n := directorytest.NATS(t)
	d := directorytest.OpenOnly(t, n, "n1", short)
	if err := d.Ready(); err == nil {
		t.Error("ready before Run")
	}
	if _, _, err := d.Bind(t.Context(), acct1, 1, "c"); !errors.Is(err, directory.ErrLeaseLost) {
		t.Errorf("bind before Run: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	<-d.Started()
	kv, key := bucket(t, n, "NODES"), directory.LeaseKey(d.Incarnation())
	first, err := kv.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the lease outlives its time", func() bool {
		e, err := kv.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return e.Created().Sub(first.Created()) > 2*time.Second
	})
	stop()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	if _, err := kv.Get(t.Context(), key); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the lease is still there: %v", err)
	}
	if d.Ready() == nil {
		t.Error("ready after Run")
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

// Last seen is the end of the last device, and never goes back.
func TestLastSeenIsOfTheLastDevice(t *testing.T) {
	n := directorytest.NATS(t)
	d, other := directorytest.Open(t, n, "n1", nil), directorytest.Open(t, n, "n2", nil)
	ctx := t.Context()
	acct, one := device(t, d, 1)
	two, err := d.AddDevice(ctx, acct, "two", "")
	if err != nil {
		t.Fatal(err)
	}
	f1, _, err := d.Bind(ctx, acct, one, "c1")
	if err != nil {
		t.Fatal(err)
	}
	f2, _, err := other.Bind(ctx, acct, two.Device, "c2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Unbind(ctx, acct, one, f1); err != nil {
		t.Fatal(err)
	}
	seen := bucket(t, n, "SEEN")
	await(t, "the first end is dealt with", func() bool { _, unseen := directory.Counts(d); return unseen == 0 })
	if _, err := seen.Get(ctx, string(acct)); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("written down while a device is connected: %v", err)
	}
	later := time.Now().Add(time.Hour).UTC()
	if err := directory.NoteSeen(ctx, d, acct, later); err != nil {
		t.Fatal(err)
	}
	if _, err := seen.Get(ctx, string(acct)); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("noted while a device is connected: %v", err)
	}
	if _, err := other.Unbind(ctx, acct, two.Device, f2); err != nil {
		t.Fatal(err)
	}
	if err := directory.NoteSeen(ctx, d, acct, later); err != nil {
		t.Fatal(err)
	}
	await(t, "the last end is dealt with", func() bool { _, unseen := directory.Counts(other); return unseen == 0 })
	if p, err := d.PresenceOf(ctx, acct); err != nil || !p.LastSeen.Equal(later) {
		t.Errorf("last seen went back: %+v, %v, want %v", p, err, later)
	}
}

func bucket(t *testing.T, n *natsnode.Node, name string) jetstream.KeyValue {
	t.Helper()
	kv, err := n.JetStream().KeyValue(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}
