package natsnode_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"switchboard/directory/natsnode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func open(t *testing.T, dir string) *natsnode.Node {
	t.Helper()
	c := natsnode.Default()
	c.Dir = dir
	n, err := natsnode.Open(t.Context(), c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close(context.Background()) })
	return n
}

func TestEmbedded(t *testing.T) {
	dir := t.TempDir()
	n := open(t, dir)
	if !n.Embedded() || n.Replicas() != 1 || n.Ready() != nil {
		t.Errorf("embedded %v, replicas %d, ready %v", n.Embedded(), n.Replicas(), n.Ready())
	}
	kv, err := n.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "B"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n.Ready() == nil {
		t.Error("ready after Close")
	}
	if err := n.Close(t.Context()); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	kv, err = open(t, dir).JetStream().KeyValue(t.Context(), "B")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(t.Context(), "k"); err != nil || string(e.Value()) != "v" {
		t.Errorf("after a restart: %v, %v", e, err)
	}
}

// Two processes would ruin each other's files.
func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	c := natsnode.Default()
	c.Dir = dir
	if _, err := natsnode.Open(t.Context(), c, quiet); !errors.Is(err, natsnode.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("the second one: %v, want %v and where", err, natsnode.ErrInUse)
	}
}

// What is acknowledged is on the disk, and nobody else can reach the server.
func TestEmbeddedIsSyncedAndClosed(t *testing.T) {
	n := open(t, t.TempDir())
	if !natsnode.Server(n).JetStreamConfig().SyncAlways {
		t.Error("writes are not synced")
	}
	if a := natsnode.Server(n).Addr(); a != nil {
		t.Errorf("the server listens on %v", a)
	}
}

// A server that finds its disk full gives up its files, and is started anew while
// there is room: connections come back, with what was stored.
func TestFilesGivenUp(t *testing.T) {
	t.Parallel()
	n := open(t, t.TempDir())
	other, err := n.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	kv, err := n.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "B"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := natsnode.Server(n).DisableJetStream(); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(); err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("ready without JetStream: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); n.Ready() != nil || !other.IsConnected(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not ready again: %v", n.Ready())
		}
	}
	if e, err := kv.Get(t.Context(), "k"); err != nil || string(e.Value()) != "v" {
		t.Errorf("afterwards: %v, %v", e, err)
	}
}

func TestNoDirectory(t *testing.T) {
	if _, err := natsnode.Open(t.Context(), natsnode.Default(), quiet); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("without a directory: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := natsnode.Default()
	c.Dir = file
	if _, err := natsnode.Open(t.Context(), c, quiet); err == nil {
		t.Error("a file was taken for a directory")
	}
}

func TestClusterAway(t *testing.T) {
	c := natsnode.Default()
	c.URL = "nats://127.0.0.1:1" // nobody listens on port 1
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := natsnode.Open(ctx, c, quiet); err == nil || !strings.Contains(err.Error(), "connect to NATS") {
		t.Errorf("no cluster: %v", err)
	}
}

func TestConfig(t *testing.T) {
	if err := natsnode.Default().Validate(); err != nil {
		t.Error(err)
	}
	err := natsnode.Config{Replicas: 2, CredsFile: "x", CAFile: "x", CertFile: "x"}.Validate()
	for _, key := range []string{"nats.replicas", "nats.creds_file", "nats.ca_file", "nats.cert_file"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}
