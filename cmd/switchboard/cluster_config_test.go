package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
	"switchboard/signaling/push/pushtest"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// TestSampleCluster runs nats-servers on the files in configs/nats and a node on
// configs/cluster.yaml, which is permitted what it needs, and not more.
func TestSampleCluster(t *testing.T) {
	files := newSampleFiles(t)
	files.start(t)
	c, _, err := Load(files.read(t, "cluster.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Development = true // codes to a file, the secret made
	c.HTTP.Listen, c.Ops.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.HTTP.TLS, c.Auth.Webhook.URL, c.Auth.Webhook.SecretFile = TLSConfig{}, "", ""
	hook := pushtest.Start(t, http.StatusBadRequest)
	c.Push.Webhook.URL, c.Push.Webhook.SecretFile = hook.URL, filepath.Join(files.dir, "nats.nk")
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	n := newNode(c.implied(), Options{Stdout: io.Discard, LogTo: t.Output()})
	p := start(t, n)
	a, b := connect(t, p.Addrs, register(t, p.Addrs, alice)), connect(t, p.Addrs, register(t, p.Addrs, bob))
	send(t, a, bob, "by the book")
	if got := awaitText(t, b); got.Body != "by the book" {
		t.Errorf("text %q", got.Body)
	}
	checkCalls(t, a, b, at(t, n, p))
	at(t, n, p).must([]string{"connected"}, "lookup", alice) // counts what waits
	checkRelay(t, files, n, p, a)
	checkPushes(t, a, b, at(t, n, p), hook)
	checkDenied(t, c)
}

// checkRelay runs a relay on relay-only.yaml, which calls find though no node's
// settings name it.
func checkRelay(t *testing.T, files *sampleFiles, n *node, p *process, a *client.Client) {
	t.Helper()
	key, err := relayKeyText(n.config.SecretFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeSecret(filepath.Join(files.dir, "relay-secret"), key); err != nil {
		t.Fatal(err)
	}
	c, _, err := Load(files.read(t, "relay-only.yaml", "# ca_file:", "ca_file:", "# cert_file: ", "cert_file: ", "# key_file: ", "key_file: "), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Development, c.Relay.Listen, c.Ops.Listen, c.NATS.NKeyFile = true, "127.0.0.1:0", "127.0.0.1:0", filepath.Join(files.dir, "relay.nk")
	r := start(t, newNode(c.implied(), Options{Stdout: io.Discard, LogTo: t.Output()}))
	o := at(t, n, p)
	eventually(t, func() bool { _, out, _ := o.run("relays"); return strings.Contains(out, "turn:"+r.Relay["udp"]) })
	o.must([]string{`^relay-1\.\w+ +eu +- +serving +0 of 8000 `}, "relays")
	ice, err := a.ICE(t.Context(), client.NewID())
	if err != nil {
		t.Fatal(err)
	}
	allocate(t, ice)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { _, out, _ := o.run("relays"); return strings.Contains(out, " gone ") })
	if ice, err = a.ICE(t.Context(), client.NewID()); err != nil || len(ice.Servers) > 0 {
		t.Errorf("with no relay left: %+v, %v", ice.Servers, err)
	}
}

// checkCalls has a call written down and found.
func checkCalls(t *testing.T, a, b *client.Client, o *operator) {
	t.Helper()
	out, _ := talk(t, a, b)
	if err := out.Hangup(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { _, said, _ := o.run("calls", alice); return strings.Contains(said, out.ID) })
	o.must([]string{`^ended .* by the caller$`}, "calls", out.ID)
	o.must([]string{out.ID}, "calls", "-until", "0s")
}

// checkPushes has a push stored, tried, kept and dropped.
func checkPushes(t *testing.T, a, b *client.Client, o *operator, hook *pushtest.Service) {
	t.Helper()
	if err := b.SetPush(t.Context(), &protocol.PushTarget{Kind: protocol.PushWebhook, Token: "app"}); err != nil {
		t.Fatal(err)
	}
	b.Close()
	eventually(t, func() bool { _, out, _ := o.run("lookup", bob); return strings.Contains(out, "online   no") })
	send(t, a, bob, "wake up")
	hook.Await()
	eventually(t, func() bool { _, out, _ := o.run("pushes"); return strings.Contains(out, "answered 400") })
	o.must([]string{"dropped"}, "drop-push", "1")
}

// checkDenied tries with the node's own key what only a node that was broken
// into would do.
func checkDenied(t *testing.T, c Config) {
	t.Helper()
	refused := make(chan error, 8)
	key, err := nats.NkeyOptionFromSeed(c.NATS.NKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(c.NATS.URL, key, nats.RootCAs(c.NATS.CAFile), nats.ClientCert(c.NATS.CertFile, c.NATS.KeyFile),
		nats.CustomInboxPrefix(c.NATS.InboxPrefix), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for what, try := range map[string]func() error{
		"remove a stream":              func() error { return nc.Publish("$JS.API.STREAM.DELETE.KV_ACCT", nil) },
		"take a snapshot":              func() error { return nc.Publish("$JS.API.STREAM.SNAPSHOT.INBOX_0", nil) },
		"empty a bucket":               func() error { return nc.Publish("$JS.API.STREAM.PURGE.KV_ACCT", nil) },
		"follow all mailboxes":         func() error { return nc.Publish("$JS.API.CONSUMER.CREATE.INBOX_0", nil) },
		"read what others are told":    func() error { _, err := nc.SubscribeSync("_INBOX_sig-2.>"); return err },
		"read the default inbox":       func() error { _, err := nc.SubscribeSync("_INBOX.>"); return err },
		"read all":                     func() error { _, err := nc.SubscribeSync(">"); return err },
		"read mailboxes as they fill":  func() error { _, err := nc.SubscribeSync("inbox.>"); return err },
		"read pushes as they come":     func() error { _, err := nc.SubscribeSync("push.>"); return err },
		"follow pushes on its own":     func() error { return nc.Publish("$JS.API.CONSUMER.CREATE.PUSH.mine", nil) },
		"remove the queue's consumer":  func() error { return nc.Publish("$JS.API.CONSUMER.DELETE.PUSH.push", nil) },
		"read records as they come":    func() error { _, err := nc.SubscribeSync("cdr.>"); return err },
		"follow records of calls":      func() error { return nc.Publish("$JS.API.CONSUMER.CREATE.CDR", nil) },
		"remove a record of a call":    func() error { return nc.Publish("$JS.API.STREAM.MSG.DELETE.CDR", nil) },
		"empty the records of calls":   func() error { return nc.Publish("$JS.API.STREAM.PURGE.CDR", nil) },
		"speak to the system's events": func() error { return nc.Publish("$SYS.REQ.SERVER.PING", nil) },
	} {
		if err := try(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(patience):
			t.Errorf("a node may %s", what)
		}
	}
}

// sampleFiles are those of configs/ with the places of this machine in them.
type sampleFiles struct {
	dir   string
	ports [3]struct{ clients, routes string }
	place *strings.Replacer
}

func newSampleFiles(t *testing.T) *sampleFiles {
	t.Helper()
	f := &sampleFiles{dir: t.TempDir()}
	f.certificate(t)
	public, seed := natsKey(t)
	if err := os.WriteFile(filepath.Join(f.dir, "nats.nk"), seed, 0o600); err != nil {
		t.Fatal(err)
	}
	relay, relaySeed := natsKey(t)
	if err := os.WriteFile(filepath.Join(f.dir, "relay.nk"), relaySeed, 0o600); err != nil {
		t.Fatal(err)
	}
	pairs := []string{
		"UDUSP5MNUOMBK7SL6ZSM2QL3GVKC5GEOPBZALY7RMZ27QDPMOL4FWI3S", relay, "/etc/switchboard/relay-secret", f.dir + "/relay-secret",
		"/etc/switchboard/nats-ca.pem", f.dir + "/cert.pem", "/etc/switchboard/nats-cert.pem", f.dir + "/cert.pem",
		"/etc/switchboard/nats-key.pem", f.dir + "/key.pem", "/etc/switchboard/nats.nk", f.dir + "/nats.nk",
		"/etc/switchboard/secret", f.dir + "/secret", "/var/lib/switchboard", f.dir + "/data",
		"/etc/nats/ca.pem", f.dir + "/cert.pem", "/etc/nats/", f.dir + "/",
		"UAAK5FLYDYYSKOYWFQW7INP4AT27NTIAEX2IG43AOQ4ORXQV5Z5777FC", public,
	}
	for i := range f.ports {
		p := &f.ports[i]
		p.clients, p.routes = freeAddress(t), freeAddress(t)
		host := fmt.Sprintf("n%d.example", i+1)
		pairs = append(pairs, host+":4222", p.clients, host+":6222", p.routes)
	}
	f.place = strings.NewReplacer(pairs...)
	return f
}

// read writes a sample file with its places changed and returns the new one.
func (f *sampleFiles) read(t *testing.T, name string, more ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(configs, name))
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(more...).Replace(f.place.Replace(string(text)))
	file := filepath.Join(f.dir, filepath.Base(name))
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// start runs three servers on the files.
func (f *sampleFiles) start(t *testing.T) {
	t.Helper()
	f.read(t, "nats/nodes.conf")
	var all []*server.Server
	for i, p := range f.ports {
		name := fmt.Sprintf("n%d", i+1)
		o, err := server.ProcessConfigFile(f.read(t, "nats/server.conf", "server_name: n1", "server_name: "+name,
			"0.0.0.0:4222", p.clients, "0.0.0.0:6222", p.routes, "127.0.0.1:8222", "127.0.0.1:-1", "/var/lib/nats", filepath.Join(f.dir, name)))
		if err != nil {
			t.Fatal(err)
		}
		if !o.SyncAlways || o.TLSConfig == nil || o.TLSConfig.ClientAuth != tls.RequireAndVerifyClientCert || o.Cluster.TLSConfig == nil {
			t.Error("the sample does not sync, or speaks to strangers")
		}
		o.NoSigs, o.NoLog = true, true
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		all = append(all, s)
	}
	for _, s := range all {
		eventually(t, func() bool { return s.ReadyForConnections(time.Second) && s.JetStreamIsCurrent() })
	}
}

// certificate writes one for all on loopback, its own authority.
func (f *sampleFiles) certificate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "switchboard"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: raw}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(f.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func natsKey(t *testing.T) (public string, seed []byte) {
	t.Helper()
	k, err := nkeys.CreateUser()
	if err == nil {
		public, err = k.PublicKey()
	}
	if err == nil {
		seed, err = k.Seed()
	}
	if err != nil {
		t.Fatal(err)
	}
	return public, seed
}
