package relay_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"switchboard/relay"
)

var everyTransport = []string{"udp", "tcp", "tls"}

// The first packets of an allocation travel in Send and Data indications; as
// soon as a channel is bound, in it.
func TestRelays(t *testing.T) {
	s := start(t, nil)
	peer := echo(t)
	for _, over := range everyTransport {
		t.Run(over, func(t *testing.T) {
			_, conn := s.allocate(t, over, mint(t, "call", "alice", time.Now()))
			for i := range 50 {
				exchange(t, conn, peer, fmt.Sprintf("packet %d", i))
			}
			for _, size := range []int{1, 4, 5, 100, 1400} {
				exchange(t, conn, peer, strings.Repeat("x", size))
			}
			if got := s.count(t, "allocations", over); got != 1 {
				t.Errorf("%v allocations over %s, want 1", got, over)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the allocation ended", func() bool { return s.count(t, "allocations", over) == 0 })
		})
	}
	if up := s.count(t, "packets_total", "up"); up < 3*55 {
		t.Errorf("%v packets up, want at least %d", up, 3*55)
	}
	if down := s.count(t, "bytes_total", "down"); down < 3*1510 {
		t.Errorf("%v bytes down, want at least %d", down, 3*1510)
	}
}

func TestBothSidesOnOneRelay(t *testing.T) {
	for name, change := range map[string]func(*relay.Config){
		"with its public address": nil,
		"behind NAT": func(c *relay.Config) {
			c.PublicAddresses = []netip.Addr{netip.MustParseAddr("127.0.0.2")}
			c.BindAddresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		},
		"over IPv6": func(c *relay.Config) { c.Listen, c.TLS.Listen = "[::1]:0", "[::1]:0" },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, change)
			clientA, a := s.allocate(t, "udp", mint(t, "call", "alice", time.Now()))
			clientB, b := s.allocate(t, "tls", mint(t, "call", "bob", time.Now()))
			if err := clientA.CreatePermission(b.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			if err := clientB.CreatePermission(a.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			for range 20 { // in indications, and then in channels
				hand(t, a, b)
				hand(t, b, a)
			}
		})
	}
}

// hand sends a packet from one relayed address to another.
func hand(t *testing.T, from, to net.PacketConn) {
	t.Helper()
	if _, err := from.WriteTo([]byte("hello"), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	to.SetReadDeadline(time.Now().Add(patience))
	n, at, err := to.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "hello" || at.String() != from.LocalAddr().String() {
		t.Fatalf("received %q from %v, which is at %v; %v", buf[:n], at, from.LocalAddr(), err)
	}
}

func TestIsSTUNServer(t *testing.T) {
	s := start(t, nil)
	for _, over := range everyTransport {
		c := s.client(t, over, credentials{})
		addr, err := c.SendBindingRequest()
		if err != nil {
			t.Errorf("over %s: %v", over, err)
			continue
		}
		if host, _, _ := net.SplitHostPort(addr.String()); host != "127.0.0.1" {
			t.Errorf("over %s: %v", over, addr)
		}
	}
}

func TestCredentialsAreChecked(t *testing.T) {
	s := start(t, nil)
	now := time.Now()
	good := mint(t, "call", "alice", now)
	other := relay.Secret{ID: "three", Key: []byte("another key of 16")}
	forged := relay.Secret{ID: "one", Key: []byte("another key of 16")}
	for _, test := range []struct {
		name    string
		as      credentials
		ok      bool
		verdict string
	}{
		{"the first secret", good, true, "ok"},
		{"the second secret", mint(t, "call", "alice", now, secretTwo), true, "ok"},
		{"expired", mint(t, "call", "alice", now.Add(-2*time.Hour)), false, "expired"},
		{"unknown secret", mint(t, "call", "alice", now, other), false, "unknown_secret"},
		{"another key", mint(t, "call", "alice", now, forged), false, "password"},
		{"later expiry", credentials{"9" + good.username, good.password}, false, "password"},
		{"another call", credentials{strings.Replace(good.username, ":call:", ":cell:", 1), good.password}, false, "password"},
		{"no parts", credentials{"alice", good.password}, false, "malformed"},
		{"endless", credentials{good.username + strings.Repeat("x", 300), good.password}, false, "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := s.count(t, "credentials_total", test.verdict)
			conn, err := s.client(t, "udp", test.as).Allocate()
			if err == nil {
				conn.Close()
			}
			if (err == nil) != test.ok {
				t.Errorf("allocate: %v", err)
			}
			if s.count(t, "credentials_total", test.verdict) == before {
				t.Errorf("not counted as %s", test.verdict)
			}
		})
	}
}
