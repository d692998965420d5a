package mailbox

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"switchboard/directory/directorytest"
	"switchboard/directory/natsnode/loopback"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// StartNATS runs an embedded server on dir. stop may be called twice.
func StartNATS(tb testing.TB, dir string) (js jetstream.JetStream, stop func()) {
	tb.Helper()
	n := directorytest.NATSIn(tb, dir)
	return n.JetStream(), func() { n.Close(tb.Context()) }
}

// Cluster is three servers in this process.
type Cluster struct {
	Servers [3]*server.Server
	JS      [3]jetstream.JetStream // connected to its server, and to no other
}

// StartCluster runs three servers that know each other.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	var c Cluster
	ports := freePorts(tb, len(c.Servers))
	routes := ""
	for _, p := range ports {
		routes += fmt.Sprintf("nats://127.0.0.1:%d,", p)
	}
	dir := tb.TempDir()
	for i := range c.Servers {
		name := "n" + strconv.Itoa(i)
		c.Servers[i] = startServer(tb, &server.Options{
			ServerName: name, StoreDir: filepath.Join(dir, name),
			Host: "127.0.0.1", Port: server.RANDOM_PORT, // routes start only once clients may come
			Routes:  server.RoutesFromStr(strings.TrimSuffix(routes, ",")),
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]},
		})
	}
	for i, s := range c.Servers {
		c.JS[i] = connect(tb, s)
	}
	for _, js := range c.JS {
		Eventually(tb, func() error {
			_, err := js.AccountInfo(tb.Context())
			return err
		})
	}
	return &c
}

// Leader is the place of the server that leads a stream.
func (c *Cluster) Leader(tb testing.TB, stream string) int {
	tb.Helper()
	s, err := c.JS[0].Stream(tb.Context(), stream)
	if err != nil {
		tb.Fatal(err)
	}
	for i, srv := range c.Servers {
		if srv.Name() == s.CachedInfo().Cluster.Leader {
			return i
		}
	}
	tb.Fatal("no leader")
	return 0
}

// Stop ends the server at a place.
func (c *Cluster) Stop(i int) {
	c.JS[i].Conn().Close()
	shutdown(c.Servers[i])
}

// StreamOf is the name of the stream that has the items of b, among n.
func StreamOf(b Box, n int) string { return streamName(streamOf(shardOf(b.Account), n)) }

// Eventually waits for what takes real time.
func Eventually(tb testing.TB, do func() error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatal(errors.Join(ctx.Err(), err))
		}
	}
}

func freePorts(tb testing.TB, n int) []int {
	tb.Helper()
	ports, err := loopback.Ports(n)
	if err != nil {
		tb.Fatal(err)
	}
	return ports
}

func startServer(tb testing.TB, o *server.Options) *server.Server {
	tb.Helper()
	o.JetStream, o.SyncAlways, o.NoSigs, o.NoLog = true, true, true, true
	s, err := server.NewServer(o)
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	tb.Cleanup(func() { shutdown(s) })
	if !s.ReadyForConnections(10 * time.Second) {
		tb.Fatal("the server does not start")
	}
	return s
}

func shutdown(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func connect(tb testing.TB, s *server.Server) jetstream.JetStream {
	tb.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}
