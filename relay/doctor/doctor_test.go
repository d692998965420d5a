package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"switchboard/relay"
	"switchboard/relay/doctor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; none is expected to last.
const patience = 10 * time.Second

var secret = relay.Secret{ID: "one", Key: []byte("0123456789abcdef")}

// start starts a relay on loopback whose settings change may change, and returns how to
// look at it.
func start(t *testing.T, until time.Time, change func(*relay.Config)) doctor.Options {
	t.Helper()
	c := relay.Default()
	c.Development = true
	c.Listen, c.TLS.Listen = "127.0.0.1:0", "127.0.0.1:0"
	var roots *x509.CertPool
	c.TLS.CertFile, c.TLS.KeyFile, roots = writeCertificate(t, "relay.example", until)
	c.Secrets = []relay.Secret{secret}
	if change != nil {
		change(&c)
	}
	s, err := relay.New(c, relay.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Started():
	case err := <-served:
		served <- nil
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("not started")
	}
	a := s.Addrs()
	o := doctor.Options{Development: true, Roots: roots, Credentials: minted(t, secret)}
	o.Target = doctor.Target{Host: "127.0.0.1", ServerName: "relay.example", UDP: portOf(a.UDP), TCP: portOf(a.TCP), TLS: portOf(a.TLS)}
	return o
}

func portOf(a net.Addr) uint16 {
	switch a := a.(type) {
	case *net.UDPAddr:
		return uint16(a.Port)
	case *net.TCPAddr:
		return uint16(a.Port)
	}
	return 0
}

func minted(t *testing.T, s relay.Secret) func() (string, string) {
	t.Helper()
	m, err := relay.NewMinter([]relay.Secret{s}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return func() (string, string) {
		u, p, _ := m.Mint("doctor", "doctor", time.Now(), time.Now())
		return u, p
	}
}

// look runs the doctor and prints what it says.
func look(t *testing.T, o doctor.Options) findings {
	t.Helper()
	o.On = func(r doctor.Result) { doctor.Print(t.Output(), r) }
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return findings{t, doctor.Run(ctx, o)}
}

type findings struct {
	t   *testing.T
	all []doctor.Result
}

// want wants a result of a status whose text has all words, and returns it.
func (f findings) want(s doctor.Status, words ...string) {
	f.t.Helper()
	for _, r := range f.all {
		found := r.Status == s
		for _, w := range words {
			found = found && strings.Contains(r.Check+" "+r.Figure+" "+r.Advice, w)
		}
		if found {
			return
		}
	}
	f.t.Errorf("no %s with %q", s, words)
}

// only wants the results of a status to be those whose checks begin so, and no others.
func (f findings) only(s doctor.Status, checks ...string) {
	f.t.Helper()
	for _, c := range checks {
		f.want(s, c)
	}
	for _, r := range f.all {
		expected := false
		for _, c := range checks {
			expected = expected || strings.HasPrefix(r.Check, c)
		}
		if r.Status == s && !expected {
			f.t.Errorf("%s: %s (%s)", s, r.Check, r.Figure)
		}
	}
}

// A relay for trying out is well, but for what everybody must know of it.
func TestDevelopment(t *testing.T) {
	f := look(t, start(t, time.Now().Add(60*24*time.Hour), nil))
	f.only(doctor.Failed)
	f.only(doctor.Warning, "relayed address is public", "refuses peer 127.0.0.1", "refuses peer 10.0.0.1", "refuses peer 172.16.0.1",
		"refuses peer 192.168.0.1", "refuses peer 100.64.0.1", "refuses peer ::ffff:127.0.0.1")
	for _, over := range []string{"udp", "tcp", "tls"} {
		f.want(doctor.OK, "STUN over "+over, "seen as 127.0.0.1:")
		f.want(doctor.OK, "allocate over "+over, "relayed at 127.0.0.1:")
		f.want(doctor.OK, "relays both ways by indications over "+over)
		f.want(doctor.OK, "relays both ways by channels over "+over)
	}
	f.want(doctor.OK, "TLS certificate", "59 days left")
	f.want(doctor.OK, "ALPN stun.turn")
	f.want(doctor.OK, "a wrong password is refused", "401")
	f.want(doctor.OK, "answers to strangers are small")
	f.want(doctor.OK, "refuses peer 169.254.169.254", "permission 403, channel 403")
	f.want(doctor.OK, "the relay's own service", "channel 403")
	f.want(doctor.OK, "relays no packets to itself")
	f.want(doctor.OK, "relay ports can be reached", "8 of 8")
	f.want(doctor.OK, "largest packet", "1464")
}

// The same relay is nothing for others, and that is told to who wants that.
func TestDevelopmentForOthers(t *testing.T) {
	o := start(t, time.Now().Add(60*24*time.Hour), nil)
	o.Development = false
	f := look(t, o)
	f.only(doctor.Failed, "relayed address is public", "refuses peer 127.0.0.1", "refuses peer 10.0.0.1", "refuses peer 172.16.0.1",
		"refuses peer 192.168.0.1", "refuses peer 100.64.0.1", "refuses peer ::ffff:127.0.0.1", "refuses peer 127.0.0.1:4222")
}

func TestCertificates(t *testing.T) {
	for _, test := range []struct {
		name   string
		until  time.Duration
		change func(*doctor.Options)
		status doctor.Status
		words  []string
	}{
		{"expired", -time.Minute, nil, doctor.Failed, []string{"TLS certificate", "the certificate has expired, or a clock is wrong"}},
		{"soon", 100 * time.Hour, nil, doctor.Warning, []string{"TLS certificate", "4 days left", "renew it now"}},
		{"another name", 100 * 24 * time.Hour, func(o *doctor.Options) { o.Target.ServerName = "other.example" }, doctor.Failed,
			[]string{"TLS certificate", "for relay.example", "it is not for other.example"}},
		{"an authority that nobody knows", 100 * 24 * time.Hour, func(o *doctor.Options) { o.Roots = nil }, doctor.Failed,
			[]string{"TLS certificate", "do not trust it"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := start(t, time.Now().Add(test.until), nil)
			o.Development = false
			if test.change != nil {
				test.change(&o)
			}
			o.Credentials = minted(t, relay.Secret{ID: "two", Key: []byte("fedcba9876543210")}) // which ends it early
			look(t, o).want(test.status, test.words...)
		})
	}
}

func TestWrongSecret(t *testing.T) {
	o := start(t, time.Now().Add(60*24*time.Hour), nil)
	o.Credentials = minted(t, relay.Secret{ID: "one", Key: []byte("fedcba9876543210")})
	f := look(t, o)
	f.only(doctor.Failed, "allocate over udp")
	f.want(doctor.Failed, "allocate over udp", "401", "its secret is another")
	f.want(doctor.OK, "STUN over tls")
}

// Peers are told an address at which nothing answers, as behind a firewall, or a NAT
// that was forgotten.
func TestPortsAreClosed(t *testing.T) {
	o := start(t, time.Now().Add(60*24*time.Hour), func(c *relay.Config) {
		c.PublicAddresses, c.BindAddresses = addresses("127.0.0.2"), addresses("127.0.0.1")
	})
	o.Target.TCP, o.Target.TLS, o.Patience = 0, 0, time.Second
	f := look(t, o)
	f.want(doctor.Failed, "relays both ways by channels over udp", "came from 127.0.0.1:", "public_addresses")
	f.want(doctor.Failed, "relay ports can be reached", "0 of 8", "let UDP to the relay ports")
}

// Without UDP from here, a second allocation is the peer.
func TestSecondAllocation(t *testing.T) {
	o := start(t, time.Now().Add(60*24*time.Hour), nil)
	o.Target.UDP, o.Target.TLS = 0, 0
	f := look(t, o)
	f.only(doctor.Failed)
	f.want(doctor.Warning, "peer of IPv4", "a second allocation")
	f.want(doctor.OK, "relays both ways by channels over tcp", "by two allocations")
	f.want(doctor.OK, "relay ports can be reached", "8 of 8")
}

func TestNothingThere(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := portOf(ln.Addr())
	ln.Close()
	o := doctor.Options{Target: doctor.Target{Host: "127.0.0.1", UDP: portOf(silent.LocalAddr()), TCP: closed}, Patience: 500 * time.Millisecond}
	f := look(t, o)
	f.only(doctor.Failed, "STUN over udp", "STUN over tcp")
	f.want(doctor.Failed, "STUN over udp", "no answer", "firewalls")
	f.want(doctor.Failed, "STUN over tcp", "refused", "is the relay running")

	o.Target.Host = "nowhere.invalid"
	look(t, o).only(doctor.Failed, "nowhere.invalid resolves")
}

// The time for all checks together is a bound.
func TestTimeIsUp(t *testing.T) {
	o := start(t, time.Now().Add(60*24*time.Hour), nil)
	ctx, cancel := context.WithCancel(t.Context())
	o.On = func(r doctor.Result) {
		if strings.HasPrefix(r.Check, "allocate over tcp") {
			cancel()
		}
	}
	f := findings{t, doctor.Run(ctx, o)}
	f.want(doctor.Failed, "all checks in the time given")
	for _, r := range f.all {
		if strings.HasPrefix(r.Check, "refuses peer") {
			t.Errorf("it goes on: %s", r.Check)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for _, test := range []struct {
		text string
		tls  uint16
		want doctor.Target
	}{
		{"relay.example", 0, doctor.Target{Host: "relay.example", UDP: 3478, TCP: 3478}},
		{"relay.example:443", 5349, doctor.Target{Host: "relay.example", UDP: 443, TCP: 443, TLS: 5349}},
		{"2001:db8::1", 0, doctor.Target{Host: "2001:db8::1", UDP: 3478, TCP: 3478}},
		{"[2001:db8::1]:80", 0, doctor.Target{Host: "2001:db8::1", UDP: 80, TCP: 80}},
		{"turn:relay.example", 0, doctor.Target{Host: "relay.example", UDP: 3478, TCP: 3478}},
		{"turn:relay.example:1?transport=udp,turns:relay.example:2?transport=tcp", 0, doctor.Target{Host: "relay.example", UDP: 1, TLS: 2}},
		{"turn:relay.example:1?transport=tcp, turns:relay.example", 0, doctor.Target{Host: "relay.example", TCP: 1, TLS: 5349}},
	} {
		if got, err := doctor.ParseTarget(test.text, test.tls); err != nil || got != test.want {
			t.Errorf("%s: %+v, %v, want %+v", test.text, got, err, test.want)
		}
	}
	for _, text := range []string{"", ":3478", "relay.example:0", "relay.example:port", "relay.example:1:2", "turn:", "turn:a,turn:b", "turns:a?transport=udp", "turn:a:99999", "[]"} {
		if got, err := doctor.ParseTarget(text, 0); err == nil {
			t.Errorf("%q: %+v, want an error", text, got)
		}
	}
}

// writeCertificate writes a certificate that signed itself, and its key.
func writeCertificate(t *testing.T, name string, until time.Time) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, text := range map[string][]byte{certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return certFile, keyFile, roots
}
