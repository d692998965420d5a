package relay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pion "github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
	"github.com/pion/transport/v5/vnet"
	"github.com/pion/turn/v5"
	"github.com/prometheus/client_golang/prometheus"

	"switchboard/relay"
)

// certificateInMemory returns one that is in no file by the time it is used.
func certificateInMemory(t testing.TB) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(writeCertificate(t, t.TempDir(), "memory"))
	if err != nil {
		t.Fatal(err)
	}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
}

// on has a relay open its sockets in a network.
func on(n relay.Network) func(*relay.Deps) { return func(d *relay.Deps) { d.Network = n } }

// A relay that is given a network opens its sockets there, and says nothing of what the
// kernel counts.
func TestNetworkThatIsGiven(t *testing.T) {
	n, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	s := startWith(t, func(c *relay.Config) { c.TLS.CertFile, c.TLS.KeyFile = "", "" }, nil, on(n),
		func(d *relay.Deps) { d.Certificate = certificateInMemory(t) })
	peer := echo(t)
	for _, over := range []string{"udp", "tcp", "tls"} {
		client, conn := s.allocate(t, over, mint(t, "call", "ann", time.Now()))
		if err := client.CreatePermission(peer); err != nil {
			t.Fatal(err)
		}
		exchange(t, conn, peer, "over "+over)
	}
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.Contains(f.GetName(), "kernel") {
			t.Errorf("there is %s", f.GetName())
		}
	}
}

// The certificate comes from one place.
func TestCertificateTwice(t *testing.T) {
	c := relay.Default()
	c.Secrets, c.Development, c.Listen = []relay.Secret{secretOne}, true, "127.0.0.1:0"
	c.TLS.CertFile, c.TLS.KeyFile = writeCertificate(t, t.TempDir(), "file")
	_, err := relay.New(c, relay.Deps{Certificate: certificateInMemory(t)})
	if err == nil || !strings.Contains(err.Error(), "tls.cert_file") {
		t.Errorf("got %v", err)
	}
	c.TLS = relay.TLSConfig{Listen: "nowhere"}
	if _, err = relay.New(c, relay.Deps{Certificate: certificateInMemory(t)}); err == nil || !strings.Contains(err.Error(), "tls.listen") {
		t.Errorf("got %v", err)
	}
}

// refusing is a network of which some things do not work.
type refusing struct {
	relay.Network
	interfaces error
	listen     error
}

func (r refusing) Interfaces() ([]*pion.Interface, error) {
	if r.interfaces != nil {
		return nil, r.interfaces
	}
	return r.Network.Interfaces()
}

func (r refusing) ListenPacket(network, address string) (net.PacketConn, error) {
	if r.listen != nil {
		return nil, r.listen
	}
	return r.Network.ListenPacket(network, address)
}

// What a network refuses is what New and Serve fail with, and nothing is left of them.
func TestNetworkThatRefuses(t *testing.T) {
	n, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	c := relay.Default()
	c.Secrets, c.Development, c.Listen = []relay.Secret{secretOne}, true, "127.0.0.1:0"
	refused := errors.New("refused")
	if _, err := relay.New(c, relay.Deps{Network: refusing{Network: n, interfaces: refused}}); !errors.Is(err, refused) {
		t.Errorf("New: %v", err)
	}
	s, err := relay.New(c, relay.Deps{Network: refusing{Network: n, listen: refused}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context()); !errors.Is(err, refused) {
		t.Errorf("Serve: %v", err)
	}
}

// packetsOnly is a network to whose listeners nobody connects.
type packetsOnly struct{ *vnet.Net }

func (packetsOnly) ListenTCP(_ string, at *net.TCPAddr) (pion.TCPListener, error) {
	return &lonely{at: at, closed: make(chan struct{})}, nil
}

type lonely struct {
	pion.TCPListener
	at     *net.TCPAddr
	closed chan struct{}
}

func (l *lonely) Accept() (net.Conn, error) { <-l.closed; return nil, net.ErrClosed }
func (l *lonely) Addr() net.Addr            { return l.at }
func (l *lonely) Close() error              { close(l.closed); return nil }

// On another project's network in memory, in a bubble: two hours of a call cost no time,
// and what the meters let through is as much as ever.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		router, err := vnet.NewRouter(&vnet.RouterConfig{CIDR: "198.18.0.0/16", LoggerFactory: quiet{}})
		if err != nil {
			t.Fatal(err)
		}
		host := func(addr string) *vnet.Net {
			n, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{addr}})
			if err != nil {
				t.Fatal(err)
			}
			if err := router.AddNet(n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		atRelay, atClient, atPeer := host("198.18.0.1"), host("198.18.0.2"), host("198.18.0.3")
		if err := router.Start(); err != nil {
			t.Fatal(err)
		}
		defer router.Stop()

		c := relay.Default()
		c.Secrets, c.Listen = []relay.Secret{secretOne}, "198.18.0.1:3478"
		c.PublicAddresses = []netip.Addr{netip.MustParseAddr("198.18.0.1")}
		c.Peers.Allow = []netip.Prefix{netip.MustParsePrefix("198.18.0.0/16")}
		s, err := relay.New(c, relay.Deps{Network: packetsOnly{atRelay}, Registerer: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx) }()
		select {
		case <-s.Started():
		case err := <-served:
			t.Fatal(err)
		}

		peer, err := atPeer.ListenPacket("udp4", "198.18.0.3:5000")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			b := make([]byte, 2000)
			for {
				n, from, err := peer.ReadFrom(b)
				if err != nil {
					return
				}
				peer.WriteTo(b[:n], from)
			}
		}()
		conn, err := atClient.ListenPacket("udp4", "198.18.0.2:0")
		if err != nil {
			t.Fatal(err)
		}
		as := mint(t, "call", "ann", time.Now())
		client, err := turn.NewClient(&turn.ClientConfig{
			STUNServerAddr: "198.18.0.1:3478", TURNServerAddr: "198.18.0.1:3478", Username: as.username, Password: as.password,
			Realm: "switchboard", Conn: conn, LoggerFactory: quiet{}, Net: atClient,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Listen(); err != nil {
			t.Fatal(err)
		}
		relayed, err := client.Allocate()
		if err != nil {
			t.Fatal(err)
		}
		if err := client.CreatePermission(peer.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		began, b := time.Now(), make([]byte, 2000)
		for time.Since(began) < 2*time.Hour {
			if _, err := relayed.WriteTo([]byte("media"), peer.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			relayed.SetReadDeadline(time.Now().Add(time.Second))
			if n, from, err := relayed.ReadFrom(b); err != nil || string(b[:n]) != "media" || from.String() != peer.LocalAddr().String() {
				t.Fatalf("after %v: %q, %v", time.Since(began), b[:n], err)
			}
			time.Sleep(10 * time.Second)
		}
		time.Sleep(time.Second) // or the client refreshes right now, and what does hangs
		relayed.Close()
		client.Close()
		peer.Close()
		conn.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
