package natsnode_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/directory/natsnode"
)

// TestClusterStillForms opens a node in a cluster of three servers one of which is late:
// what needs all three is made once it is there.
func TestClusterStillForms(t *testing.T) {
	at, third := cluster(t)
	c := natsnode.Default()
	c.URL = at
	n, err := natsnode.Open(t.Context(), c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(t.Context())
	tries := 0
	err = n.Prepare(t.Context(), func() error {
		if tries++; tries == 3 { // it was refused twice
			third()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := n.JetStream().CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: c.Replicas})
		return err
	})
	if err != nil || tries < 3 {
		t.Errorf("after %d tries: %v", tries, err)
	}
}

// TestPrepareGivesUp leaves other failures to whoever asks, and waits no longer than it may.
func TestPrepareGivesUp(t *testing.T) {
	c := natsnode.Default()
	c.URL, _ = cluster(t)
	n, err := natsnode.Open(t.Context(), c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(t.Context())
	other, tries := errors.New("another"), 0
	if err := n.Prepare(t.Context(), func() error { tries++; return other }); !errors.Is(err, other) || tries != 1 {
		t.Errorf("%v after %d tries, want the first error", err, tries)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = n.Prepare(ctx, func() error {
		_, err := n.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: c.Replicas})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "nats.replicas: 3, and the cluster has fewer servers") {
		t.Errorf("without a third server: %v", err)
	}
}

// cluster starts two servers of a cluster, and returns where the first one is and what
// starts a third.
func cluster(t *testing.T) (at string, third func()) {
	t.Helper()
	var held []net.Listener // until both have a port, so that they differ
	var routes []*url.URL
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held, routes = append(held, l), append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
	}
	start := func(port int) *server.Server {
		s, err := server.NewServer(&server.Options{
			ServerName: t.Name() + fmt.Sprint(port), JetStream: true, StoreDir: t.TempDir(), Routes: routes,
			Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "switchboard", Host: "127.0.0.1", Port: port},
		})
		if err != nil {
			t.Fatal(err)
		}
		go s.Start() // waits for a leader, and so for another server
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		return s
	}
	var servers []*server.Server
	for _, l := range held {
		l.Close()
		servers = append(servers, start(l.Addr().(*net.TCPAddr).Port))
	}
	for _, s := range servers {
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("a server does not start")
		}
	}
	return servers[0].ClientURL(), func() { start(server.RANDOM_PORT) }
}
