package phone_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pion/logging"
	"github.com/pion/turn/v5"
	"go.uber.org/goleak"

	"switchboard/cmd/internal/phone"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
	"switchboard/relay/natlab"
	"switchboard/signaling"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/client"
	"switchboard/signaling/mailbox/mailboxtest"
	"switchboard/signaling/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const alice, bob = "+14155550101", "+14155550102"

// delay is between a phone and its router, each way; beyond it there is none.
const delay = 5 * time.Millisecond

// world is networks with a signaling server and two TURN servers.
type world struct {
	*natlab.World
	t       *testing.T
	dir     *directorytest.Fake
	tokens  tokens
	relays  relays
	trusted *x509.CertPool // of the relays
}

// inWorld runs f in a bubble. None of it has a real socket, and nothing of it is left.
func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{World: natlab.NewWorld(1), t: t, dir: directorytest.NewWorld().Node("one"), tokens: tokens{}, trusted: x509.NewCertPool()}
		defer w.Close()
		for _, name := range []string{"relay-a", "relay-b"} {
			defer w.relay(name)()
		}
		defer w.signaling()()
		f(t, w)
	})
}

// signaling starts the signaling server, on port 80 of its host.
func (w *world) signaling() (stop func()) {
	w.t.Helper()
	server, err := signaling.New(signaling.Default(), signaling.Deps{
		Numbers: w.dir, People: w.dir, Watcher: w.dir, Bindings: w.dir, Nodes: w.dir, Mailboxes: mailboxtest.New(), Records: callstoretest.New(),
		Auth: w.tokens, Relays: &w.relays, Log: slog.New(slog.DiscardHandler), Version: "test",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.dir.Answer(server.Answer)
	ln, err := w.Internet().AddHost("signaling").Listen("tcp", ":80")
	if err != nil {
		w.t.Fatal(err)
	}
	h := &http.Server{Handler: server}
	go h.Serve(ln)
	go server.Run(w.t.Context())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), h.Close()); err != nil {
			w.t.Errorf("the end of signaling: %v", err)
		}
	}
}

// relay starts a TURN server, on 3478 over UDP and TCP and on 443 over TLS.
func (w *world) relay(name string) (stop func()) {
	w.t.Helper()
	host := w.Internet().AddHost(name)
	at := host.Addrs()[0].AsSlice()
	udp, err1 := host.ListenPacket("udp4", ":3478")
	tcp, err2 := host.Listen("tcp4", ":3478")
	secure, err3 := host.Listen("tcp4", ":443")
	if err := errors.Join(err1, err2, err3); err != nil {
		w.t.Fatal(err)
	}
	secure = tls.NewListener(secure, &tls.Config{Certificates: []tls.Certificate{w.certificate(name)}})
	from := &turn.RelayAddressGeneratorStatic{RelayAddress: at, Address: net.IP(at).String(), Net: host.Net()}
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	s, err := turn.NewServer(turn.ServerConfig{
		Realm: "test", LoggerFactory: quiet,
		AuthHandler: func(r *turn.RequestAttributes) (string, []byte, bool) {
			return r.Username, turn.GenerateAuthKey(r.Username, r.Realm, secret), true
		},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: udp, RelayAddressGenerator: from}},
		ListenerConfigs:   []turn.ListenerConfig{{Listener: tcp, RelayAddressGenerator: from}, {Listener: secure, RelayAddressGenerator: from}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.relays = append(w.relays, protocol.ICEServer{Username: "anybody", Credential: secret, URLs: []string{
		"turn:" + name + ":3478?transport=udp", "turn:" + name + ":3478?transport=tcp", "turns:" + name + ":443?transport=tcp",
	}})
	return func() {
		if err := s.Close(); err != nil {
			w.t.Errorf("the end of %s: %v", name, err)
		}
	}
}

const secret = "secret of all relays"

// certificate makes one that is trusted for a name.
func (w *world) certificate(name string) tls.Certificate {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{name},
		IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		w.t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(raw); err != nil {
		w.t.Fatal(err)
	}
	w.trusted.AddCert(c)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// behind adds a host behind a router of its own.
func (w *world) behind(name string, r natlab.RouterSpec) *natlab.Host {
	link := natlab.NetworkSpec{Link: natlab.Link{Delay: delay}}
	return w.Internet().AddRouter(name+"-nat", r, link).AddHost(name)
}

// phone signs a number in from a host.
func (w *world) phone(number string, at *natlab.Host) *client.Client {
	w.t.Helper()
	num, err := e164.Parse(number, "")
	if err != nil {
		w.t.Fatal(err)
	}
	acct, err := w.dir.Register(w.t.Context(), num)
	if err != nil {
		w.t.Fatal(err)
	}
	dev, err := w.dir.AddDevice(w.t.Context(), acct.Account, "phone", "")
	if err != nil {
		w.t.Fatal(err)
	}
	token := "token of " + number
	w.tokens[token] = auth.Identity{Account: acct.Account, Device: dev.Device, Number: num}
	c, err := client.Dial(w.t.Context(), client.Options{
		URL: "http://signaling", Token: token, Stay: true, Dialer: &websocket.Dialer{NetDialContext: at.DialContext},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// options are for a phone at a host, whose warnings fail the test.
func (w *world) options(at *natlab.Host) phone.Options {
	return phone.Options{
		Net: at.Net(), RelayTLS: &tls.Config{RootCAs: w.trusted},
		Warn: func(err error) { w.t.Errorf("warning: %v", err) },
	}
}

// acquaint has a number in a client's contacts.
func (w *world) acquaint(c *client.Client, number string) {
	w.t.Helper()
	if _, err := c.SyncContacts(w.t.Context(), []string{number}, false); err != nil {
		w.t.Fatal(err)
	}
}

// taken is how a call went for one side.
type taken struct {
	phone.Summary
	err error
}

// take has a client answer the next call.
func take(ctx context.Context, c *client.Client, o phone.Options) <-chan taken {
	result := make(chan taken, 1)
	go func() {
		for e := range c.Events() {
			if in, ok := e.(client.Incoming); ok {
				in.Call.Ringing()
				s, err := phone.Answer(ctx, in.Call, o)
				result <- taken{s, err}
				return
			}
		}
	}()
	return result
}

// relays are those of all calls, in an order.
type relays []protocol.ICEServer

func (r *relays) Open() protocol.ICE { return protocol.ICE{} }
func (r *relays) For(signaling.RelaysFor) protocol.ICE {
	return protocol.ICE{Servers: *r, TTLMS: 3600_000}
}
func (r *relays) Chosen(string, string) []string { return nil }

func (r *relays) State(string, time.Time) signaling.RelayState { return signaling.RelayServes }

// tokens knows whose tokens are whose.
type tokens map[string]auth.Identity

func (a tokens) Authenticate(_ context.Context, token string) (auth.Identity, error) {
	if id, ok := a[token]; ok {
		return id, nil
	}
	return auth.Identity{}, protocol.NewError(protocol.CodeToken, "no such token")
}
