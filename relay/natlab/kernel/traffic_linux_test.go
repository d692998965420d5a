package kernel_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"switchboard/relay/natlab/kernel"
)

// packets opens a socket on a host for as long as the test runs.
func packets(t *testing.T, l *kernel.Lab, host, address string) net.PacketConn {
	t.Helper()
	c, err := l.ListenPacket(t.Context(), host, "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// say sends a word. That there is no way is no error here: it does not arrive.
func say(t *testing.T, c net.PacketConn, to netip.AddrPort, word string) {
	t.Helper()
	if _, err := c.WriteTo([]byte(word), net.UDPAddrFromAddrPort(to)); err != nil {
		t.Logf("send %q to %v: %v", word, to, err)
	}
}

// hear waits for a word and returns it with where it came from; "" if none comes.
func hear(t *testing.T, c net.PacketConn, wait time.Duration) (string, netip.AddrPort) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(wait))
	b := make([]byte, 1<<16)
	n, from, err := c.ReadFrom(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", netip.AddrPort{}
	}
	if err != nil {
		t.Fatal(err)
	}
	at := from.(*net.UDPAddr).AddrPort()
	return string(b[:n]), netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

const (
	soon = 2 * time.Second        // by when what arrives is there
	long = 250 * time.Millisecond // after which what has not arrived does not
)

// passes fails the test unless a word from c arrives at d, and returns where it seems to
// come from.
func passes(t *testing.T, c, d net.PacketConn, to netip.AddrPort, word string) netip.AddrPort {
	t.Helper()
	say(t, c, to, word)
	got, from := hear(t, d, soon)
	if got != word {
		t.Fatalf("heard %.20q at %v, want %.20q", got, to, word)
	}
	return from
}

// lost fails the test if a word from c arrives at d.
func lost(t *testing.T, c, d net.PacketConn, to netip.AddrPort, word string) {
	t.Helper()
	say(t, c, to, word)
	if got, from := hear(t, d, long); got != "" {
		t.Fatalf("heard %q from %v, want nothing", got, from)
	}
}

func addr(text string) net.Addr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(text)) }

func at(l *kernel.Lab, host string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(l.Addrs(host)[0], port)
}

// connects is whether a host can connect to a TCP server on another.
func connects(t *testing.T, l *kernel.Lab, host, address string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c, err := l.DialContext(ctx, host, "tcp", address)
	if err != nil {
		t.Logf("%s to %s: %v", host, address, err)
		return false
	}
	c.Close()
	return true
}

// serves accepts connections on a host.
func serves(t *testing.T, l *kernel.Lab, host, address string) {
	t.Helper()
	ln, err := l.Listen(t.Context(), host, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
}

// tells runs a program on a host and returns what it says.
func tells(t *testing.T, l *kernel.Lab, host, name string, args ...string) string {
	t.Helper()
	out, err := l.Command(t.Context(), host, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v on %s: %v: %s", name, args, host, err, out)
	}
	return strings.TrimSpace(string(out))
}
