package natsnode_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/directory/natsnode"
)

// A relay on another machine may tell of itself, and nothing else; who has no key, or
// one that has been taken away, may not even connect.
func TestGateForRelays(t *testing.T) {
	dir := t.TempDir()
	public, seed := newUser(t)
	later, laterSeed := newUser(t)
	_, stranger := newUser(t)
	keys := filepath.Join(dir, "relays.keys")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# ours\n\nrelay-1  " + public + "\n")
	var said lines
	log := slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), &said), nil))
	ca := newAuthority(t)
	cert, key := ca.pair("server")
	n, err := natsnode.Open(t.Context(), natsnode.Config{
		Replicas: 1, Dir: filepath.Join(dir, "nats"),
		Relays: natsnode.RelaysConfig{Listen: "127.0.0.1:0", KeysFile: keys, CertFile: cert, KeyFile: key},
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close(t.Context()) })
	url, trust := "tls://"+n.RelaysAddr().String(), nats.RootCAs(ca.file)
	dial := func(seed string, opts ...nats.Option) (*nats.Conn, error) {
		key, err := nats.NkeyOptionFromSeed(seed)
		if err != nil {
			t.Fatal(err)
		}
		return nats.Connect(url, append(opts, key, trust)...)
	}
	for who, try := range map[string]func() (*nats.Conn, error){
		"nobody": func() (*nats.Conn, error) { return nats.Connect(url, trust) },
		"the process's user": func() (*nats.Conn, error) {
			return nats.Connect(url, trust, nats.UserInfo(natsnode.NodeUser, natsnode.GatePassword(n)))
		},
		"another key":          func() (*nats.Conn, error) { return dial(stranger) },
		"a key to come":        func() (*nats.Conn, error) { return dial(laterSeed) },
		"a password of no use": func() (*nats.Conn, error) { return nats.Connect(url, trust, nats.UserInfo(natsnode.NodeUser, "")) },
	} {
		if nc, err := try(); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", who, err)
			if err == nil {
				nc.Close()
			}
		}
	}

	refused := make(chan error, 16)
	nc, err := dial(seed, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	got, err := n.Conn().SubscribeSync("relay.*")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Conn().Flush(), nc.Publish("relay.relay-1", []byte("here")), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	if m, err := got.NextMsg(10 * time.Second); err != nil || string(m.Data) != "here" {
		t.Errorf("what it tells of itself: %v", err)
	}
	for what, try := range map[string]func() error{
		"tell of another relay": func() error { return nc.Publish("relay.relay-2", nil) },
		"speak as a node":       func() error { return nc.Publish("relay._.n1", nil) },
		"tell of a node":        func() error { return nc.Publish("$KV.NODES.n.relay-1-abc", nil) },
		"ask JetStream":         func() error { return nc.Publish("$JS.API.INFO", nil) },
		"hear of other relays":  func() error { _, err := nc.SubscribeSync("relay.*"); return err },
		"write a record":        func() error { return nc.Publish("$KV.ACCT.a", nil) },
		"read a record":         func() error { return nc.Publish("$JS.API.DIRECT.GET.KV_ACCT", nil) },
		"remove a stream":       func() error { return nc.Publish("$JS.API.STREAM.DELETE.KV_ACCT", nil) },
		"ask a node":            func() error { return nc.Publish("node.n1.x", nil) },
		"read texts":            func() error { _, err := nc.SubscribeSync("inbox.>"); return err },
		"read all":              func() error { _, err := nc.SubscribeSync(">"); return err },
		"read others' answers":  func() error { _, err := nc.SubscribeSync("_INBOX.>"); return err },
	} {
		if err := try(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("a relay may %s", what)
		}
	}

	// What it may say cannot be led on to what it may not: by a header for JetStream, or
	// a place where an answer would be written.
	kv, err := n.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "CONFIG", Storage: jetstream.MemoryStorage})
	if err == nil {
		_, err = kv.PutString(t.Context(), "directory", "as it was")
	}
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg("relay.relay-1")
	m.Reply = "$KV.CONFIG.directory"
	m.Header.Set("Nats-Rollup", "all")
	if err := errors.Join(nc.PublishMsg(m), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	if _, err := got.NextMsg(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(t.Context(), "directory"); err != nil || string(e.Value()) != "as it was" || e.Revision() != 1 {
		t.Errorf("a record that a relay has nothing to do with: %v, %v", e, err)
	}

	// A relay comes, another goes: without a restart, and without the process's own
	// connection being cut.
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	nc.Opts.AllowReconnect = false
	write("relay-2 " + later + "\n")
	deadline := time.Now().Add(20 * time.Second)
	for {
		other, err := dial(laterSeed)
		if err == nil {
			other.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the new relay: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("a relay stays whose key was taken away")
	}
	if other, err := dial(seed); err == nil {
		other.Close()
		t.Error("a relay comes back whose key was taken away")
	}
	if err := n.Ready(); err != nil || n.Conn().Stats().Reconnects > 0 {
		t.Errorf("the process itself: %v, %d reconnects", err, n.Conn().Stats().Reconnects)
	}
	// A file that cannot be read changes nothing.
	write("relay-2 nonsense\n")
	for deadline := time.Now().Add(20 * time.Second); !said.have("keys of relays not read again"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not said that the file cannot be read")
		}
	}
	other, err := dial(laterSeed)
	if err != nil {
		t.Fatalf("after a file that cannot be read: %v", err)
	}
	other.Close()
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) have(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

func TestRelaysConfig(t *testing.T) {
	for _, test := range []struct {
		name string
		c    natsnode.Config
		want string
	}{
		{"no listener", natsnode.Config{Replicas: 1, Relays: natsnode.RelaysConfig{KeysFile: "x"}}, "nats.relays.listen: is empty"},
		{"no keys", natsnode.Config{Replicas: 1, Relays: natsnode.RelaysConfig{Listen: "127.0.0.1:4222"}}, "nats.relays.keys_file: is empty"},
		{"no address", natsnode.Config{Replicas: 1, Relays: natsnode.RelaysConfig{Listen: "4222", KeysFile: "x"}}, "nats.relays.listen:"},
		{"no TLS", natsnode.Config{Replicas: 1, Relays: natsnode.RelaysConfig{Listen: ":4222", KeysFile: "x"}}, "nats.relays.cert_file: is empty"},
		{"half a certificate", natsnode.Config{Replicas: 1, Relays: natsnode.RelaysConfig{Listen: ":4222", KeysFile: "x", CertFile: "c"}}, "goes together"},
		{"a cluster", natsnode.Config{Replicas: 3, URL: "nats://n1:4222", Relays: natsnode.RelaysConfig{Listen: "127.0.0.1:4222", KeysFile: "x"}}, "nats.relays: is for an embedded server"},
	} {
		if err := test.c.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
	good := natsnode.Config{Replicas: 1, Relays: natsnode.RelaysConfig{Listen: ":4222", KeysFile: "x", CertFile: "c", KeyFile: "k"}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	public, _ := newUser(t)
	for _, text := range []string{
		"relay-1", "relay-1 " + public + " more", "Relay " + public, strings.Repeat("a", 33) + " " + public,
		"relay-1 UABC", "relay-1 " + public + "\nrelay-1 " + public, "relay-1 " + public + "\nrelay-2 " + public,
	} {
		file := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := natsnode.ReadRelayKeys(file); err == nil || strings.Contains(err.Error(), public) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
