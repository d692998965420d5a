package natsnode_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"switchboard/directory/natsnode"
)

// authority signs certificates for servers and nodes on loopback.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("authority", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.file = a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

// sign makes a certificate, signed by a, or by itself if it is the first.
func (a *authority) sign(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(raw); err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

// pair writes a certificate for loopback and its key.
func (a *authority) pair(name string) (cert, key string) {
	a.t.Helper()
	c, k := a.sign(name, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	raw, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", c.Raw), a.write(name+"-key.pem", "EC PRIVATE KEY", raw)
}

func (a *authority) write(name, kind string, raw []byte) string {
	return writeFile(a.t, a.dir, name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})))
}

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serve runs a server on loopback until the test ends.
func serve(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	if o.JetStream {
		o.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s
}

// withTLS makes a server ask for certificates of a.
func withTLS(t *testing.T, o *server.Options, a *authority) *server.Options {
	t.Helper()
	cert, key := a.pair("server")
	c, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: cert, KeyFile: key, CaFile: a.file, Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	c.MinVersion = tls.VersionTLS12
	o.TLS, o.TLSVerify, o.TLSConfig, o.TLSTimeout = true, true, c, 2
	return o
}

// newUser returns a key of a user and the file of its seed.
func newUser(t *testing.T) (public, file string) {
	t.Helper()
	k, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := k.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = k.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return public, writeFile(t, t.TempDir(), "user.nk", string(seed))
}

func tryOpen(t *testing.T, c natsnode.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n, err := natsnode.Open(ctx, c, quiet)
	if err != nil {
		return err
	}
	if _, err := n.JetStream().AccountInfo(ctx); err != nil {
		t.Errorf("open, and yet: %v", err)
	}
	return n.Close(ctx)
}

// TestTLSAndNKeys goes into a cluster that asks for a certificate and an NKey,
// and is refused with each of them wrong.
func TestTLSAndNKeys(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	public, seed := newUser(t)
	_, strangersSeed := newUser(t)
	s := serve(t, withTLS(t, &server.Options{JetStream: true, Nkeys: []*server.NkeyUser{{Nkey: public}}}, a))
	good := natsnode.Default()
	good.URL, good.CAFile, good.NKeyFile = "tls://"+s.Addr().String(), a.file, seed
	good.CertFile, good.KeyFile = a.pair("node")
	good.InboxPrefix = "_INBOX_node-1"
	theirCert, theirKey := stranger.pair("node")

	for _, test := range []struct {
		name   string
		change func(*natsnode.Config)
		want   string
	}{
		{"all good", func(*natsnode.Config) {}, ""},
		{"several servers, one of which is away", func(c *natsnode.Config) { c.URL = "tls://127.0.0.1:1," + c.URL }, ""},
		{"another's NKey", func(c *natsnode.Config) { c.NKeyFile = strangersSeed }, "nats.nkey_file"},
		{"no NKey", func(c *natsnode.Config) { c.NKeyFile = "" }, "nats.creds_file or nats.nkey_file"},
		{"no seed in the file", func(c *natsnode.Config) { c.NKeyFile = a.file }, "nats.nkey_file"},
		{"no file of the seed", func(c *natsnode.Config) { c.NKeyFile = "/nowhere" }, "nats.nkey_file"},
		{"no file of credentials", func(c *natsnode.Config) { c.NKeyFile, c.CredsFile = "", "/nowhere" }, "nats.creds_file"},
		{"another authority", func(c *natsnode.Config) { c.CAFile = stranger.file }, "nats.ca_file"},
		{"no authority", func(c *natsnode.Config) { c.CAFile = "" }, "nats.ca_file"},
		{"no file of the authority", func(c *natsnode.Config) { c.CAFile = "/nowhere" }, "nats.ca_file"},
		{"no certificate", func(c *natsnode.Config) { c.CertFile, c.KeyFile = "", "" }, "nats.cert_file"},
		{"a certificate of another authority", func(c *natsnode.Config) { c.CertFile, c.KeyFile = theirCert, theirKey }, "nats.cert_file"},
		{"the key of another certificate", func(c *natsnode.Config) { c.KeyFile = theirKey }, "nats.cert_file"},
		{"another name", func(c *natsnode.Config) { c.URL = strings.Replace(c.URL, "127.0.0.1", "localhost", 1) }, "nats.url"},
		{"nobody there", func(c *natsnode.Config) { c.URL = "tls://127.0.0.1:1" }, "nats.url"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := good
			test.change(&c)
			err := tryOpen(t, c)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got  %v\nwant %q", err, test.want)
			}
		})
	}
}

// TestCreds goes in with a JWT, as servers with an operator ask for.
func TestCreds(t *testing.T) {
	s, creds := serveOperator(t)
	c := natsnode.Default()
	c.URL, c.CredsFile = s.ClientURL(), creds("known")
	if err := tryOpen(t, c); err != nil {
		t.Error(err)
	}
	c.CredsFile = creds("")
	if err := tryOpen(t, c); err == nil || !strings.Contains(err.Error(), "nats.creds_file") {
		t.Errorf("of another account: %v", err)
	}
}

// serveOperator runs a server that trusts an operator, and returns what makes
// credentials of its account, or of one that it does not know.
func serveOperator(t *testing.T) (*server.Server, func(account string) string) {
	t.Helper()
	create := func(make func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		k, err := make()
		if err != nil {
			t.Fatal(err)
		}
		public, err := k.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return k, public
	}
	operator, operatorKey := create(nkeys.CreateOperator)
	_, systemKey := create(nkeys.CreateAccount)
	account, accountKey := create(nkeys.CreateAccount)
	other, _ := create(nkeys.CreateAccount)
	signed := func(c interface {
		Encode(nkeys.KeyPair) (string, error)
	}, by nkeys.KeyPair) string {
		text, err := c.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	claims := jwt.NewAccountClaims(accountKey)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit}
	resolver := &server.MemAccResolver{}
	for key, text := range map[string]string{accountKey: signed(claims, operator), systemKey: signed(jwt.NewAccountClaims(systemKey), operator)} {
		if err := resolver.Store(key, text); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, &server.Options{
		JetStream: true, TrustedKeys: []string{operatorKey}, AccountResolver: resolver, SystemAccount: systemKey,
	})
	return s, func(of string) string {
		user, userKey := create(nkeys.CreateUser)
		by := account
		if of == "" {
			by = other
		}
		seed, err := user.Seed()
		if err != nil {
			t.Fatal(err)
		}
		text, err := jwt.FormatUserConfig(signed(jwt.NewUserClaims(userKey), by), seed)
		if err != nil {
			t.Fatal(err)
		}
		return writeFile(t, t.TempDir(), "user.creds", string(text))
	}
}

// TestClusterIsNotEnough tells what a cluster lacks, with the key that asks for it.
func TestClusterIsNotEnough(t *testing.T) {
	c := natsnode.Default()
	c.URL = serve(t, &server.Options{}).ClientURL()
	if err := tryOpen(t, c); err == nil || !strings.Contains(err.Error(), "nats.url: the servers, or this node's account there, have no JetStream") {
		t.Errorf("without JetStream: %v", err)
	}

	c.URL = serve(t, &server.Options{JetStream: true}).ClientURL()
	n, err := natsnode.Open(t.Context(), c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(t.Context())
	_, err = n.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: c.Replicas})
	if err := n.Explain(err); err == nil || !strings.Contains(err.Error(), "nats.replicas: 3") {
		t.Errorf("one server for three replicas: %v", err)
	}
	if n.Explain(nil) != nil {
		t.Error("nothing is explained")
	}
}

func TestRemoteConfig(t *testing.T) {
	for _, test := range []struct {
		c    natsnode.Config
		want string
	}{
		{natsnode.Config{Replicas: 3, URL: "nats://a:4222, tls://b:4222", NKeyFile: "x", InboxPrefix: "_INBOX_a.b"}, ""},
		{natsnode.Config{Replicas: 3, URL: "a:4222"}, "nats.url"},
		{natsnode.Config{Replicas: 3, URL: "nats://a,"}, "nats.url"},
		{natsnode.Config{Replicas: 3, URL: "http://a"}, "nats.url"},
		{natsnode.Config{Replicas: 3, URL: "nats://a", NKeyFile: "x", CredsFile: "y"}, "nats.nkey_file"},
		{natsnode.Config{Replicas: 3, NKeyFile: "x"}, "nats.nkey_file"},
		{natsnode.Config{Replicas: 3, InboxPrefix: "x"}, "nats.inbox_prefix"},
		{natsnode.Config{Replicas: 3, URL: "nats://a", InboxPrefix: "a.>"}, "nats.inbox_prefix"},
		{natsnode.Config{Replicas: 3, URL: "nats://a", InboxPrefix: "a..b"}, "nats.inbox_prefix"},
		{natsnode.Config{Replicas: 3, URL: "nats://a", InboxPrefix: strings.Repeat("a", 65)}, "nats.inbox_prefix"},
	} {
		err := test.c.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: got %v, want %q", test.c, err, test.want)
		}
	}
}
