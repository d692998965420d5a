package phone

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/transport/v5"

	"switchboard/signaling/protocol"
)

// The server must not be told of a relay that is not the one in use: each socket leads
// to its own, also of relays that share an address.
func TestWhereSocketsLeadTo(t *testing.T) {
	n, err := newNetwork(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer n.leave()
	for _, at := range []string{"127.0.0.1:3478", "127.0.0.1:3479", "localhost:3480"} {
		to, err := n.ResolveUDPAddr("udp4", at)
		if err != nil {
			t.Fatal(err)
		}
		s, err := n.ListenPacket("udp4", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		local := s.LocalAddr().String()
		if got := n.wayFrom(local); got != (way{}) {
			t.Errorf("a socket that has sent nothing leads to %v", got)
		}
		if _, err := s.WriteTo([]byte("x"), to); err != nil {
			t.Fatal(err)
		}
		if got, want := n.wayFrom(local), (way{"udp", at}); got != want {
			t.Errorf("it leads to %v, want %v", got, want)
		}
		s.Close()
		if got := n.wayFrom(local); got != (way{}) {
			t.Errorf("a socket that is closed leads to %v", got)
		}
	}
}

// A relay's certificate must be one that is trusted, for the name that it is reached by.
func TestCertificatesOfRelays(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "https://")
	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate())
	_, port, _ := net.SplitHostPort(at)
	for _, test := range []struct {
		name   string
		config *tls.Config
		at     string
		ok     bool
	}{
		{"not trusted", nil, at, false},
		{"trusted", &tls.Config{RootCAs: trusted}, at, true},
		{"trusted for another name", &tls.Config{RootCAs: trusted}, "localhost:" + port, false},
		{"by the name that is given", &tls.Config{RootCAs: trusted, ServerName: "example.com"}, "localhost:" + port, true},
		{"whatever it is", &tls.Config{InsecureSkipVerify: true}, at, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, err := newNetwork(nil, test.config)
			if err != nil {
				t.Fatal(err)
			}
			defer n.leave()
			n.begin(protocol.ICE{Servers: []protocol.ICEServer{{URLs: []string{"turns:" + test.at + "?transport=tcp"}}}})
			c, err := n.Dial("tcp4", test.at)
			if (err == nil) != test.ok {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				if got, want := n.wayFrom(c.LocalAddr().String()), (way{"tls", test.at}); got != want {
					t.Errorf("it leads to %v, want %v", got, want)
				}
				c.Close()
			}
		})
	}
}

// deaf is a network that takes connections on their way and never brings them there.
type deaf struct{ transport.Net }

func (deaf) ResolveTCPAddr(string, string) (*net.TCPAddr, error) { return &net.TCPAddr{}, nil }

func (deaf) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A firewall that drops what is sent to a relay must not hold up the end of a call.
func TestConnectingEndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := newNetwork(deaf{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		time.AfterFunc(time.Second, n.leave)
		if _, err := n.Dial("tcp4", "192.0.2.1:3478"); !errors.Is(err, context.Canceled) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if n, err = newNetwork(deaf{}, nil); err != nil {
			t.Fatal(err)
		}
		defer n.leave()
		if _, err := n.Dial("tcp4", "192.0.2.1:3478"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("alone, it ended with %v", err)
		}
	})
}

// A connection to a relay whose network is gone must not hold up all else.
func TestWritingToARelayIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := newNetwork(deaf{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer n.leave()
		here, there := net.Pipe() // nobody reads
		defer there.Close()
		c := newRelayConn(here, n, way{"tcp", "relay:3478"})
		begun := time.Now()
		if _, err := c.Write([]byte("data")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != writeWithin {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if _, err := c.Write([]byte("more")); err == nil || time.Since(begun) != writeWithin {
			t.Errorf("after that: %v after %v", err, time.Since(begun))
		}
	})
}
