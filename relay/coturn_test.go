package relay_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"switchboard/relay"
)

// tool returns the path of one of coturn's test programs. Where they are
// missing the test is skipped, but not in CI: make test installs them there.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%s is missing; Debian has it in coturn, and make test installs it", name)
	default:
		t.Skipf("%s is missing, so nothing is tested here with coturn's client; Debian has it in coturn", name)
	}
	return path
}

// Another project's client agrees with the relay about the protocol.
func TestCoturnsClient(t *testing.T) {
	t.Parallel()
	client, echo := tool(t, "turnutils_uclient"), coturnsPeer(t)
	s := start(t, func(c *relay.Config) { c.Quotas.AllocationsPerUser, c.Quotas.AllocationsPerCall = 1000, 1000 }) // it ends without ending its allocations
	as := mint(t, "call", "alice", time.Now())
	for _, test := range []struct {
		name, over string
		clients    string
		flags      []string
	}{
		{"UDP, channels", "udp", "1", nil},
		{"UDP, indications", "udp", "1", []string{"-s"}},
		{"TCP, channels", "tcp", "1", []string{"-t"}},
		{"TCP, indications", "tcp", "1", []string{"-t", "-s"}},
		{"TLS, channels", "tls", "1", []string{"-t", "-S"}},
		{"TLS, indications", "tls", "1", []string{"-t", "-S", "-s"}},
		{"two sides of one relay", "udp", "2", []string{"-y"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, port, err := net.SplitHostPort(s.address(test.over))
			if err != nil {
				t.Fatal(err)
			}
			_, echoPort, err := net.SplitHostPort(echo)
			if err != nil {
				t.Fatal(err)
			}
			out := run(t, client, append([]string{
				"-u", as.username, "-w", as.password, "-p", port, "-e", "127.0.0.1", "-r", echoPort,
				"-c", "-X", "-m", test.clients, "-n", "10", "-l", "170", // no RTCP, IPv4, 10 packets of 170 bytes
			}, append(test.flags, "127.0.0.1")...))
			sent, received := total(t, out, "tot_send_msgs"), total(t, out, "tot_recv_msgs")
			if sent < 10 || received != sent {
				t.Errorf("%d sent, %d received\n%s", sent, received, out)
			}
		})
	}
}

// Another project's client goes where a relay that drains sends it.
func TestCoturnsClientIsSentElsewhere(t *testing.T) {
	t.Parallel()
	client, echo := tool(t, "turnutils_uclient"), coturnsPeer(t)
	other := start(t, func(c *relay.Config) { c.Quotas.AllocationsPerUser, c.Quotas.AllocationsPerCall = 1000, 1000 })
	s := start(t, func(c *relay.Config) {
		c.AlternateServers = []netip.AddrPort{netip.MustParseAddrPort(other.address("udp"))}
	})
	s.Drain()
	as := mint(t, "call", "alice", time.Now())
	_, port, err := net.SplitHostPort(s.address("udp"))
	if err != nil {
		t.Fatal(err)
	}
	_, echoPort, err := net.SplitHostPort(echo)
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{nil, {"-t"}} {
		before := other.count(t, "allocations_total", "")
		out := run(t, client, append([]string{
			"-u", as.username, "-w", as.password, "-p", port, "-e", "127.0.0.1", "-r", echoPort, "-c", "-X", "-m", "1", "-n", "10", "-l", "170",
		}, append(flags, "127.0.0.1")...))
		if sent, received := total(t, out, "tot_send_msgs"), total(t, out, "tot_recv_msgs"); sent < 10 || received != sent {
			t.Errorf("%q: %d sent, %d received\n%s", flags, sent, received, out)
		}
		if other.count(t, "allocations_total", "") == before || s.count(t, "redirects_total", "") == 0 {
			t.Errorf("%q: it has not gone there\n%s", flags, out)
		}
	}
}

// run runs coturn's client, and again while it asks for what the relay refuses:
// in half of its allocations it wants an even port.
func run(t *testing.T, client string, args []string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		out, err := exec.CommandContext(ctx, client, args...).CombinedOutput()
		switch {
		case err == nil:
			return out
		case !bytes.Contains(out, []byte("error 508")) || ctx.Err() != nil:
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// coturnsPeer starts coturn's echo server and returns its address.
func coturnsPeer(t *testing.T) string {
	t.Helper()
	program := tool(t, "turnutils_peer")
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.LocalAddr().(*net.UDPAddr)
	free.Close()
	cmd := exec.CommandContext(t.Context(), program, "-L", "127.0.0.1", "-p", strconv.Itoa(addr.Port))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Wait() }) // the context has ended by then
	conn, err := net.Dial("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "coturn's echo server answers", func() bool {
		conn.Write([]byte("hello"))
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := conn.Read(make([]byte, 100))
		return err == nil
	})
	return addr.String()
}

// total returns the last value that coturn's client printed for a name.
func total(t *testing.T, out []byte, name string) int {
	t.Helper()
	all := regexp.MustCompile(name+`=(\d+)`).FindAllSubmatch(out, -1)
	if all == nil {
		t.Fatalf("no %s in\n%s", name, bytes.TrimSpace(out))
	}
	n, err := strconv.Atoi(string(all[len(all)-1][1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
