package relay_test

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

func TestConnectionLimits(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits func(*relay.Limits)
	}{
		{"limit_source", func(l *relay.Limits) { l.ConnectionsPerSource = 3 }},
		{"limit_total", func(l *relay.Limits) { l.Connections = 3 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, func(c *relay.Config) { test.limits(&c.Limits) })
			as := mint(t, "call", "alice", time.Now())
			first := s.raw(t, "tcp", as).allocated(t)
			s.raw(t, "tls", as).allocated(t)
			s.raw(t, "tcp", as).allocated(t)
			expectClosed(t, 0, s.dialStream(t, "tcp"))
			if s.count(t, "connection_ends_total", test.name) != 1 {
				t.Error("not counted")
			}
			first.conn.Close()
			eventually(t, "one ended", func() bool { return s.count(t, "connections", "") == 2 })
			s.raw(t, "tcp", as).allocated(t)
		})
	}
}

// Connections that do nothing end; those that have an allocation may be silent.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *relay.Config) {
		c.Limits.HandshakeTimeout, c.Limits.IdleTimeout = time.Second, 100*time.Millisecond
	})
	as := mint(t, "call", "alice", time.Now())
	for _, over := range []string{"tcp", "tls"} {
		kept := s.raw(t, over, as).allocated(t)

		expectClosed(t, 0, s.dialStream(t, over)) // nothing at all
		half := s.dialStream(t, over)             // half a message
		half.Write([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42})
		expectClosed(t, 1, half)
		asked := s.dialStream(t, over) // one message and no more
		asked.Write(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
		if _, err := io.ReadFull(asked, make([]byte, 40)); err != nil {
			t.Errorf("answer: %v", err)
		}
		expectClosed(t, 2, asked)

		if got := kept.do(t, stun.MethodRefresh); got != 0 {
			t.Errorf("refresh after all that over %s: %d", over, got)
		}
		if got := kept.do(t, stun.MethodRefresh, attribute{stun.AttrLifetime, make([]byte, 4)}); got != 0 {
			t.Errorf("end of the allocation: %d", got)
		}
		eventually(t, "no connection is left", func() bool { return s.count(t, "connections", over) == 0 })
	}
	if s.count(t, "connection_ends_total", "silent") < 6 || s.count(t, "connection_ends_total", "stalled") < 1 {
		t.Error("ends are not counted as what they are")
	}
}

// channelData is data in a channel, padded.
func channelData(n uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, n)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	b = append(b, data...)
	return append(b, make([]byte, (4-len(data)%4)%4)...)
}

// Data is relayed at once, however short it is and however the stream is cut.
func TestFramesOfAStream(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	at := echo(t)
	for _, over := range []string{"tcp", "tls"} {
		r := s.raw(t, over, mint(t, "call", "alice", time.Now())).allocated(t)
		if got := r.do(t, stun.MethodChannelBind, channel(0x4001), peer(at.String())); got != 0 {
			t.Fatalf("channel: %d", got)
		}
		expect := func(data string) {
			t.Helper()
			b := make([]byte, 2048)
			r.conn.SetReadDeadline(time.Now().Add(patience))
			n, _, err := r.conn.ReadFrom(b)
			if err != nil || n < 4+len(data) || string(b[4:4+len(data)]) != data {
				t.Errorf("%q over %s: %q, %v", data, over, b[:n], err)
			}
		}
		for _, data := range []string{"12345", "1234567890", string(make([]byte, 1400))} {
			r.send(t, channelData(0x4001, []byte(data)))
			expect(data)
		}
		up := s.count(t, "bytes_total", "up")
		for i := range 5 { // too short for the client's library to show before the next
			r.send(t, channelData(0x4001, make([]byte, i)))
		}
		s.until(t, "bytes_total", "up", up+0+1+2+3+4)
		for range 5 {
			b := make([]byte, 100)
			r.send(t, channelData(0x4001, []byte("tick, tock")))
			r.conn.SetReadDeadline(time.Now().Add(patience))
			if _, _, err := r.conn.ReadFrom(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("cut and joined", func(t *testing.T) {
		conn := s.dialStream(t, "tcp")
		ask := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
		for _, b := range append(append([]byte{}, ask...), ask...) {
			conn.Write([]byte{b})
		}
		conn.Write(append(append([]byte{}, ask...), ask...))
		conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(conn, make([]byte, 4*40)); err != nil {
			t.Error(err)
		}
	})
	t.Run("too long", func(t *testing.T) {
		r := s.raw(t, "tcp", mint(t, "call", "alice", time.Now())).allocated(t)
		r.send(t, channelData(0x4001, make([]byte, 60000)))
		if got := r.do(t, stun.MethodRefresh); got != 0 {
			t.Errorf("refresh after it: %d", got)
		}
		if s.count(t, "drops_total", "too_large") != 1 {
			t.Error("not counted")
		}
	})
}

// Clients that race get what the quota lets them have, all of it and no more.
func TestQuotaHoldsInARace(t *testing.T) {
	const quota, clients = 4, 24
	for name, set := range map[string]func(*relay.Quotas){
		"user":   func(q *relay.Quotas) { q.AllocationsPerUser = quota },
		"call":   func(q *relay.Quotas) { q.AllocationsPerCall = quota },
		"source": func(q *relay.Quotas) { q.AllocationsPerSource = quota },
		"total":  func(q *relay.Quotas) { q.Allocations = quota },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(c *relay.Config) {
				c.Limits.UnauthenticatedPerSecond = 1000
				c.Quotas.AllocationsPerUser, c.Quotas.AllocationsPerCall = 100, 100
				set(&c.Quotas)
			})
			refused := 486
			if name == "total" {
				refused = 508
			}
			var ready []*raw
			for i := range clients {
				call, user := fmt.Sprint(i), fmt.Sprint(i)
				if name == "user" {
					user = "alice"
				}
				if name == "call" {
					call = "one"
				}
				ready = append(ready, s.raw(t, everyTransport[i%3], mint(t, call, user, time.Now())).greet(t))
			}
			var wg sync.WaitGroup
			var open atomic.Int32
			for _, r := range ready {
				wg.Go(func() {
					switch got := r.try(t, 10, stun.MethodAllocate, udpRelay); got {
					case 0:
						open.Add(1)
					case refused:
					default:
						t.Errorf("allocate: %d, want %d", got, refused)
					}
				})
			}
			wg.Wait()
			if open.Load() != quota || s.Allocations() != quota {
				t.Errorf("%d are open, and %d counted, want %d", open.Load(), s.Allocations(), quota)
			}
		})
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	s := start(t, nil)
	name := func() string {
		t.Helper()
		conn := s.dialStream(t, "tls").(*tls.Conn)
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		if p := conn.ConnectionState().NegotiatedProtocol; p != "stun.turn" {
			t.Errorf("ALPN: %q", p)
		}
		return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	// Files of one moment could have the same time.
	touch := func(files ...string) {
		t.Helper()
		later := time.Now().Add(time.Hour)
		for _, f := range files {
			if err := os.Chtimes(f, later, later); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := name(); got != "first" {
		t.Fatalf("certificate of %s", got)
	}
	dir := filepath.Dir(s.files.CertFile)
	if err := os.WriteFile(s.files.CertFile, []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := name(); got != "first" {
		t.Errorf("while the new one cannot be read: %s", got)
	}
	if s.count(t, "certificate_loads_total", "error") != 1 {
		t.Error("the error is not counted")
	}
	writeCertificate(t, dir, "second")
	touch(s.files.CertFile, s.files.KeyFile)
	if got := name(); got != "second" {
		t.Errorf("after renewal: %s", got)
	}
}

func TestTLSRefuses(t *testing.T) {
	s := start(t, nil)
	for name, config := range map[string]*tls.Config{
		"TLS 1.1":          {MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10},
		"another protocol": {NextProtos: []string{"h2"}},
	} {
		config.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", s.address("tls"), config)
		if err == nil {
			conn.Close()
			t.Errorf("%s: connected", name)
		}
	}
	conn, err := tls.Dial("tcp", s.address("tls"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatalf("TLS 1.2 without a protocol: %v", err)
	}
	conn.Close()
	s.until(t, "connection_ends_total", "handshake", 2)
}

// A client that does not read is not waited for for ever, and nobody else is
// held up by it.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes as long as a client may not read")
	}
	s := start(t, nil)
	source, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	conn := s.dialStream(t, "tcp").(*net.TCPConn)
	conn.SetReadBuffer(4096)
	r := s.rawOn(t, conn, mint(t, "call", "alice", time.Now())).allocated(t)
	if got := r.do(t, stun.MethodChannelBind, channel(0x4001), peer(source.LocalAddr().String())); got != 0 {
		t.Fatalf("channel: %d", got)
	}
	r.send(t, channelData(0x4001, []byte("where to")))
	b := make([]byte, 100)
	source.SetReadDeadline(time.Now().Add(patience))
	_, relayed, err := source.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	_, other := s.allocate(t, "tcp", mint(t, "call", "bob", time.Now()))
	at := echo(t)
	end := time.Now().Add(3 * patience)
	for i := 0; s.count(t, "connection_ends_total", "stalled") == 0; i++ {
		source.WriteTo(make([]byte, 1400), relayed)
		if i%1000 == 0 {
			exchange(t, other, at, "others are served")
		}
		if time.Now().After(end) {
			t.Fatal("the connection stays")
		}
	}
}
