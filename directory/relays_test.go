package directory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/natsnode"
)

// mast is a relay that makes itself known over a connection of its own.
type mast struct {
	conn    *nats.Conn
	changed chan struct{}
	stop    func() // and wait

	mu     sync.Mutex
	status directory.Relay
}

func raise(t *testing.T, n *natsnode.Node, name string) *mast {
	t.Helper()
	m := &mast{
		conn: directorytest.NATSConn(t, n), changed: make(chan struct{}, 1),
		status: directory.Relay{Region: "eu", Zone: "a", TURN: []string{"turn:" + name + ".example:3478?transport=udp"}, STUN: []string{"stun:" + name + ".example:3478"}, Allocations: 3, Max: 100},
	}
	beacon, err := directory.NewRelayBeacon(m.conn, name, directorytest.Log())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		beacon.Run(ctx, func() directory.Relay {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.status
		}, m.changed)
	}()
	m.stop = func() { cancel(); <-done }
	t.Cleanup(m.stop)
	return m
}

func (m *mast) drain() {
	m.mu.Lock()
	m.status.Draining = true
	m.mu.Unlock()
	m.changed <- struct{}{}
}

// relayOf returns what a node knows of a relay.
func relayOf(d *directory.Directory, name string) (directory.RelayInfo, bool) {
	for _, r := range d.Relays() {
		if r.Name == name {
			return r, true
		}
	}
	return directory.RelayInfo{}, false
}

// A relay makes itself known to all nodes, those that come later included; they hear
// at once that it is drained, and that it has stopped.
func TestRelayComesAndGoes(t *testing.T) {
	t.Parallel()
	n := directorytest.NATS(t)
	d1 := directorytest.OpenOnly(t, n, "n1", nil)
	var news atomic.Int32
	d1.OnRelay(func() { news.Add(1) })
	run(t, d1)
	m := raise(t, n, "relay-1")
	await(t, "the relay is known", func() bool { _, ok := relayOf(d1, "relay-1"); return ok })
	d2 := directorytest.Open(t, n, "n2", nil)
	for _, d := range []*directory.Directory{d1, d2} {
		await(t, "every node knows the relay", func() bool { _, ok := relayOf(d, "relay-1"); return ok })
		r, _ := relayOf(d, "relay-1")
		if r.Region != "eu" || r.Zone != "a" || r.Allocations != 3 || r.Max != 100 || r.Draining || !r.Gone.IsZero() || len(r.TURN) != 1 || !strings.HasPrefix(r.Incarnation(), "relay-1.") {
			t.Errorf("known as %+v", r)
		}
	}
	if got := news.Load(); got != 1 {
		t.Errorf("told %d times that it has come", got)
	}
	begun := time.Now()
	m.drain()
	await(t, "it is drained", func() bool { r, _ := relayOf(d2, "relay-1"); return r.Draining })
	await(t, "the node is told", func() bool { return news.Load() == 2 })
	m.stop()
	await(t, "it has gone", func() bool { r, _ := relayOf(d2, "relay-1"); return !r.Gone.IsZero() })
	await(t, "the node is told", func() bool { return news.Load() == 3 })
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("that took %v, as long as a lease lapses", took)
	}
}

// run runs a directory until the test ends.
func run(t *testing.T, d *directory.Directory) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-d.Started():
	case err := <-ended:
		t.Fatalf("did not start: %v", err)
	}
}

// A relay that dies without a word has gone when nothing was heard of it for a while.
// One that comes again at once tells by that that it has died.
func TestRelayDies(t *testing.T) {
	t.Parallel()
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", nil)
	m, other := raise(t, n, "relay-1"), raise(t, n, "relay-2")
	for _, name := range []string{"relay-1", "relay-2"} {
		await(t, "the relay is known", func() bool { _, ok := relayOf(d, name); return ok })
	}
	m.conn.Close()
	await(t, "it has gone", func() bool { r, _ := relayOf(d, "relay-1"); return !r.Gone.IsZero() })
	gone, _ := relayOf(d, "relay-1")

	begun := time.Now()
	other.conn.Close()
	raise(t, n, "relay-2")
	await(t, "the second was started anew", func() bool { r, _ := relayOf(d, "relay-2"); return !r.Restarted.IsZero() && r.Gone.IsZero() })
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("it took %v, as long as nothing was heard, until it was known that the relay had died", took)
	}
	raise(t, n, "relay-1")
	await(t, "the first is there again", func() bool {
		r, _ := relayOf(d, "relay-1")
		return r.Gone.IsZero() && r.Restarted.Equal(gone.Gone)
	})
}

// NATS forgets all that it has in memory, as when its servers are restarted: relays are
// never thought dead.
func TestRelaySurvivesNATS(t *testing.T) {
	t.Parallel()
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", short)
	raise(t, n, "relay-1")
	dies := raise(t, n, "relay-2")
	for _, name := range []string{"relay-1", "relay-2"} {
		await(t, "the relay is known", func() bool { _, ok := relayOf(d, name); return ok })
	}
	was := d.Incarnation()
	dies.conn.Close()
	if err := n.JetStream().DeleteStream(t.Context(), "KV_NODES"); err != nil {
		t.Fatal(err)
	}
	await(t, "the node has another lease", func() bool { return d.Incarnation() != was && d.Ready() == nil })
	await(t, "the relay that died meanwhile has gone", func() bool {
		if r, _ := relayOf(d, "relay-1"); !r.Gone.IsZero() {
			t.Fatal("a relay that lives has gone")
		}
		r, _ := relayOf(d, "relay-2")
		return !r.Gone.IsZero()
	})
}

// A node that does not hear itself hears no relay: it thinks none of them dead, and when
// it hears again each has the time to speak.
func TestNodeIsDeaf(t *testing.T) {
	t.Parallel()
	n := directorytest.NATS(t)
	nc := directorytest.NATSConn(t, n)
	d := directorytest.OpenOn(t, n, nc, "n1", short)
	run(t, d)
	directory.HearRelay(d, "relay-1", `{"v":1,"name":"relay-1","start":"abc","region":"eu","turn":["turn:a:1"]}`)
	gone := func() bool { r, _ := relayOf(d, "relay-1"); return !r.Gone.IsZero() }

	directory.AgeRelays(d, 5*time.Second)
	if gone() {
		t.Fatal("it has gone after 5 seconds")
	}
	directory.HearAgain(d)
	directory.AgeRelays(d, 5*time.Second)
	if gone() {
		t.Fatal("it has gone though the node has just begun to hear again")
	}

	// The connection is lost: nothing is heard for longer than a relay may be silent.
	directory.HearAgain(d)
	nc.Close()
	time.Sleep(8 * time.Second)
	if gone() {
		t.Error("a relay has gone while the node heard nothing")
	}
}

// What a relay says that cannot be is not believed, and does not take its place.
func TestRelaySaysNonsense(t *testing.T) {
	t.Parallel()
	n := directorytest.NATS(t)
	d := directorytest.OpenOnly(t, n, "n1", nil)
	directory.HearRelay(d, "relay-1", `nonsense`)
	if r, ok := relayOf(d, "relay-1"); !ok || r.Gone.IsZero() {
		t.Errorf("a relay that only talks nonsense is %+v, %v", r, ok)
	}
	good := `{"v":1,"name":"relay-1","start":"abc","region":"eu","turn":["turn:a:1"]}`
	directory.HearRelay(d, "relay-1", good)
	for _, data := range []string{`nonsense`, `{"v":1,"name":"relay-2","start":"abc","region":"eu","turn":["turn:a:1"]}`, strings.Repeat("x", 9000)} {
		directory.HearRelay(d, "relay-1", data)
		if r, ok := relayOf(d, "relay-1"); !ok || !r.Gone.IsZero() || r.Region != "eu" || len(r.TURN) != 1 {
			t.Errorf("after %.20s: %+v, %v", data, r, ok)
		}
	}
	// The last word of another process than the one that lives is not its own.
	directory.HearRelay(d, "relay-1", `{"v":1,"name":"relay-1","start":"xyz","region":"eu","turn":["turn:a:1"],"stopped":true}`)
	if r, _ := relayOf(d, "relay-1"); !r.Gone.IsZero() {
		t.Error("a relay has gone because another process of its name stops")
	}
	for i := range 10_100 {
		name := fmt.Sprint("r", i)
		directory.HearRelay(d, name, strings.ReplaceAll(good, "relay-1", name))
	}
	if got := len(d.Relays()); got != 10_000 {
		t.Errorf("%d relays are known", got)
	}
}

// A relay's key lets whoever has it write anything there.
func TestDecodeRelay(t *testing.T) {
	for _, c := range []struct{ data, field string }{
		{`{"v":1,"name":"r-1","start":"abc","region":"eu","turn":["turn:a:1"],"colour":"red"}`, ""},
		{`{"v":1,"name":"r-1","start":"abc","region":"eu","turn":["turn:a:1","turns:a:2"],"stun":["stun:a:1"],"allocations":1,"max":2}`, ""},
		{`{"v":2,"name":"r-1","start":"abc","region":"eu","turn":["turn:a:1"]}`, "v"},
		{`{"v":1,"name":"r","start":"abc","region":"eu","turn":["turn:a:1"]}`, "name"},
		{`{"v":1,"name":"r-2","start":"abc","region":"eu","turn":["turn:a:1"]}`, "name"},
		{`{"v":1,"name":"r-1","region":"eu","turn":["turn:a:1"]}`, "start"},
		{`{"v":1,"name":"r-1","start":"abc","region":"EU west","turn":["turn:a:1"]}`, "region"},
		{`{"v":1,"name":"r-1","start":"abc","region":"eu","zone":"a b","turn":["turn:a:1"]}`, "zone"},
		{`{"v":1,"name":"r-1","start":"abc","region":"eu"}`, "turn"},
		{`{"v":1,"name":"r-1","start":"abc","region":"eu","turn":["https://a"]}`, "turn"},
		{`{"v":1,"name":"r-1","start":"abc","region":"eu","turn":["turn:` + strings.Repeat("a", 300) + `"]}`, "turn"},
		{`{"v":1,"name":"r-1","start":"abc","region":"eu","turn":["turn:a:1"],"stun":["turn:a:1"]}`, "stun"},
		{`{"v":1,"name":"r-1","start":"abc","region":"eu","turn":["turn:a:1"` + strings.Repeat(`,"turn:a:1"`, 16) + `]}`, "turn"},
		{`{"v":1,"name":"r-1","start":"abc","region":"eu","turn":["turn:a:1"],"allocations":-1}`, "allocations"},
	} {
		_, err := directory.DecodeRelay("r-1", []byte(c.data))
		var re *directory.RecordError
		if (err == nil) != (c.field == "") || err != nil && (!errors.As(err, &re) || re.Field != c.field) {
			t.Errorf("%s: %v", c.data, err)
		}
	}
}
