package relay_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
	"github.com/prometheus/client_golang/prometheus"

	"switchboard/relay"
)

// patience bounds every wait of a test; none is expected to last.
const patience = 10 * time.Second

var (
	secretOne = relay.Secret{ID: "one", Key: []byte("0123456789abcdef")}
	secretTwo = relay.Secret{ID: "two", Key: []byte("fedcba9876543210")}
)

// server is a relay on loopback with what a test wants of it.
type server struct {
	*relay.Server
	metrics *prometheus.Registry
	files   relay.TLSConfig
	stop    func() error // ends Serve and returns what it returned
	test    testing.TB   // that started it

	elsewhere map[string]string // its addresses by transport, where it is in another process; then there is nothing else
}

// start starts a relay on loopback, with TLS, whose settings change may change, and
// which makes itself known to a registrar or to nobody.
func start(t testing.TB, change func(*relay.Config), to ...relay.Registrar) *server {
	t.Helper()
	return startTuned(t, change, nil, to...)
}

// startTuned is start of a relay in which tune changes what no setting does.
func startTuned(t testing.TB, change func(*relay.Config), tune func(*relay.Server), to ...relay.Registrar) *server {
	t.Helper()
	return startWith(t, change, tune, func(d *relay.Deps) {
		for _, r := range to {
			d.Registrar = r
		}
	})
}

// startWith is startTuned of a relay that is given more than settings.
func startWith(t testing.TB, change func(*relay.Config), tune func(*relay.Server), give ...func(*relay.Deps)) *server {
	t.Helper()
	c := relay.Default()
	c.Development = true
	c.Listen, c.TLS.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.TLS.CertFile, c.TLS.KeyFile = writeCertificate(t, t.TempDir(), "first")
	c.Secrets = []relay.Secret{secretOne, secretTwo}
	c.Limits.AllocationsPerUserPerSecond = 1000 // tests are faster than people
	if change != nil {
		change(&c)
	}
	s := &server{metrics: prometheus.NewRegistry(), files: c.TLS, test: t}
	d := relay.Deps{Registerer: s.metrics}
	for _, with := range give {
		with(&d)
	}
	var err error
	if s.Server, err = relay.New(c, d); err != nil {
		t.Fatal(err)
	}
	if tune != nil {
		tune(s.Server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	s.stop = func() error {
		cancel()
		select {
		case err := <-served:
			served <- err
			return err
		case <-time.After(patience):
			t.Fatal("Serve does not return")
			return nil
		}
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	select {
	case <-s.Started():
	case err := <-served:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("not started")
	}
	return s
}

// count returns the sum of a metric's series that have the label, or of all.
func (s *server) count(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for _, f := range families {
		if f.GetName() != "switchboard_relay_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				sum, found = sum+m.GetCounter().GetValue()+m.GetGauge().GetValue(), true
			}
		}
	}
	if !found {
		t.Fatalf("no metric %s with label %q", name, label)
	}
	return sum
}

// until waits until a metric has reached a value.
func (s *server) until(t testing.TB, name, label string, at float64) {
	t.Helper()
	eventually(t, name+" "+label, func() bool { return s.count(t, name, label) >= at })
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("never: %s", what)
		}
	}
}

// credentials are what a client authenticates with.
type credentials struct{ username, password string }

func mint(t testing.TB, call, user string, at time.Time, secrets ...relay.Secret) credentials {
	t.Helper()
	if len(secrets) == 0 {
		secrets = []relay.Secret{secretOne}
	}
	m, err := relay.NewMinter(secrets, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var c credentials
	c.username, c.password, _ = m.Mint(call, user, at, at)
	return c
}

// dial returns a socket to the relay over udp, tcp or tls.
func (s *server) dial(t testing.TB, over string) net.PacketConn {
	t.Helper()
	switch over {
	case "udp":
		host, _, err := net.SplitHostPort(s.address(over))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		// As long as the relay is there: who had the port next would be taken for this client.
		whole := t
		if s.test != nil {
			whole = s.test
		}
		whole.Cleanup(func() { conn.Close() })
		return conn
	}
	return turn.NewSTUNConn(s.dialStream(t, over))
}

func (s *server) dialStream(t testing.TB, over string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.address(over))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if over == "tls" {
		return tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"stun.turn"}})
	}
	return conn
}

func (s *server) address(over string) string {
	if s.elsewhere != nil {
		return s.elsewhere[over]
	}
	switch a := s.Addrs(); over {
	case "udp":
		return a.UDP.String()
	case "tcp":
		return a.TCP.String()
	default:
		return a.TLS.String()
	}
}

// client returns a TURN client over udp, tcp or tls.
func (s *server) client(t testing.TB, over string, as credentials) *turn.Client {
	t.Helper()
	c, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: s.address(over), TURNServerAddr: s.address(over),
		Username: as.username, Password: as.password, Realm: "switchboard",
		Conn: s.dial(t, over), LoggerFactory: quiet{},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	return c
}

// allocate opens an allocation.
func (s *server) allocate(t testing.TB, over string, as credentials) (*turn.Client, net.PacketConn) {
	t.Helper()
	c := s.client(t, over, as)
	conn, err := c.Allocate()
	if err != nil {
		t.Fatalf("allocate over %s: %v", over, err)
	}
	t.Cleanup(func() { conn.Close() })
	return c, conn
}

// echo is a peer that sends back what it receives.
func echo(t testing.TB) net.Addr {
	t.Helper()
	return echoAt(t, "127.0.0.1:0")
}

func echoAt(t testing.TB, at string) net.Addr {
	t.Helper()
	conn, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			conn.WriteTo(b[:n], from)
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr()
}

// exchange sends a packet to a peer that echoes, until it is back.
func exchange(t testing.TB, conn net.PacketConn, peer net.Addr, packet string) {
	t.Helper()
	b := make([]byte, 2048)
	for end := time.Now().Add(patience); ; {
		if _, err := conn.WriteTo([]byte(packet), peer); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, from, err := conn.ReadFrom(b)
		if err == nil && string(b[:n]) == packet && from.String() == peer.String() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%q did not come back: %v", packet, err)
		}
	}
}

// writeCertificate writes a certificate for a name and its key.
func writeCertificate(t testing.TB, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// quiet discards what the TURN client logs.
type quiet struct{}

func (quiet) NewLogger(string) logging.LeveledLogger {
	return logging.NewDefaultLeveledLoggerForScope("", logging.LogLevelDisabled, nil)
}
