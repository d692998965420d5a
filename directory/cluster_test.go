package directory_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/natsnode"
	"switchboard/directory/natsnode/loopback"
)

// TestCluster starts three servers once and tries on them what differs from
// one: reads that lag, and the loss of a leader.
func TestCluster(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("electing takes seconds")
	}
	c := startCluster(t)
	t.Run("contract", func(t *testing.T) {
		directorytest.RunLagging(t, func(tb testing.TB) directorytest.Nodes {
			c.clear(tb)
			var opened int
			return func(name string, answer directorytest.Handler) directorytest.Directory {
				opened++
				return directorytest.OpenWith(tb, c.nodes[opened%3], name, nil, answer)
			}
		})
	})
	t.Run("confirmed", func(t *testing.T) { c.clear(t); clusterConfirmed(t, c) })
	t.Run("loss of a leader", func(t *testing.T) { c.clear(t); clusterLoss(t, c) })
}

// clusterConfirmed wants a device that has just connected at one node to be
// found at the next, every time.
func clusterConfirmed(t *testing.T, c *cluster) {
	var nodes []*directory.Directory
	for i, n := range c.nodes {
		nodes = append(nodes, directorytest.Open(t, n, fmt.Sprint("n", i), nil))
	}
	stale := 0
	for i := range 60 {
		a, b := nodes[i%3], nodes[(i+1)%3]
		rec, err := a.Register(t.Context(), directorytest.Number(t, i))
		if err != nil {
			t.Fatal(err)
		}
		dev, err := a.AddDevice(t.Context(), rec.Account, "x", "")
		if err != nil {
			t.Fatal(err)
		}
		fence, _, err := a.Bind(t.Context(), rec.Account, dev.Device, "c")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.Bindings(t.Context(), rec.Account); err != nil || len(got) != 1 {
			stale++
		}
		if got, err := b.BindingsConfirmed(t.Context(), rec.Account); err != nil || len(got) != 1 || got[0].Fence != fence {
			t.Fatalf("round %d: confirmed = %+v, %v", i, got, err)
		}
	}
	t.Logf("%d of 60 unconfirmed reads were stale", stale)
}

// clusterLoss ends the server that leads the leases. The nodes on the others
// keep theirs, and no device of theirs is ever confirmed to be away.
func clusterLoss(t *testing.T, c *cluster) {
	directorytest.OpenOnly(t, c.nodes[0], "first", nil) // makes the buckets
	lead := c.leader(t, "KV_NODES")
	a := directorytest.Open(t, c.nodes[(lead+1)%3], "a", nil)
	b := directorytest.Open(t, c.nodes[(lead+2)%3], "b", nil)
	acct, dev := device(t, a, 1)
	if _, _, err := b.Bind(t.Context(), acct, dev, "c"); err != nil {
		t.Fatal(err)
	}
	c.stop(lead)
	begun := time.Now()
	answered := 0
	for answered < 50 {
		switch got, err := a.BindingsConfirmed(t.Context(), acct); {
		case errors.Is(err, directory.ErrUnavailable):
			if time.Since(begun) > time.Minute {
				t.Fatal("no leader after a minute")
			}
		case err != nil || len(got) != 1:
			t.Fatalf("confirmed = %+v, %v", got, err)
		default:
			answered++
		}
	}
	t.Logf("answers again after %v", time.Since(begun).Round(100*time.Millisecond))
	await(t, "both nodes renew their leases", func() bool { return a.Ready() == nil && b.Ready() == nil })
	if _, err := a.Register(t.Context(), directorytest.Number(t, 2)); err != nil {
		t.Error(err)
	}
}

// cluster is three servers in this process, and a connection to each.
type cluster struct {
	servers [3]*server.Server
	nodes   [3]*natsnode.Node
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	var c cluster
	ports := freePorts(t, len(c.servers))
	var routes []string
	for _, p := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	dir := t.TempDir()
	for i := range c.servers {
		name := fmt.Sprint("s", i)
		s, err := server.NewServer(&server.Options{
			ServerName: name, StoreDir: filepath.Join(dir, name), JetStream: true, SyncAlways: true, NoSigs: true, NoLog: true,
			Host: "127.0.0.1", Port: server.RANDOM_PORT,
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.servers[i] = s
		s.Start()
		t.Cleanup(func() { c.stop(i) })
	}
	for i, s := range c.servers {
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("a server does not start")
		}
		await(t, "JetStream answers", func() bool { return s.JetStreamIsCurrent() })
		conf := natsnode.Default()
		conf.URL = s.ClientURL()
		n, err := natsnode.Open(t.Context(), conf, directorytest.Log())
		if err != nil {
			t.Fatal(err)
		}
		if n.Embedded() || n.Replicas() != 3 {
			t.Errorf("embedded %v, replicas %d", n.Embedded(), n.Replicas())
		}
		c.nodes[i] = n
		t.Cleanup(func() { n.Close(context.Background()) })
	}
	return &c
}

// stop ends the server at a place.
func (c *cluster) stop(i int) {
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

// clear removes all buckets.
func (c *cluster) clear(tb testing.TB) {
	tb.Helper()
	js := c.nodes[0].JetStream()
	names := js.StreamNames(tb.Context())
	for name := range names.Name() {
		if err := js.DeleteStream(tb.Context(), name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			tb.Fatal(err)
		}
	}
	if err := names.Err(); err != nil {
		tb.Fatal(err)
	}
}

// leader is the place of the server that leads a stream.
func (c *cluster) leader(tb testing.TB, stream string) int {
	tb.Helper()
	s, err := c.nodes[0].JetStream().Stream(tb.Context(), stream)
	if err != nil {
		tb.Fatal(err)
	}
	for i, srv := range c.servers {
		if srv.Name() == s.CachedInfo().Cluster.Leader {
			return i
		}
	}
	tb.Fatal("no leader")
	return 0
}

func freePorts(tb testing.TB, n int) []int {
	tb.Helper()
	ports, err := loopback.Ports(n)
	if err != nil {
		tb.Fatal(err)
	}
	return ports
}
