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
	"sync"
	"sync/atomic"
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

// Another project's client agrees with the relay about the protocol, over each
// transport, in channels and in indications, over IPv4 and IPv6.
func TestCoturnsClient(t *testing.T) {
	t.Parallel()
	client := tool(t, "turnutils_uclient")
	for _, family := range []struct {
		name, host, flag string
		change           func(*relay.Config)
	}{
		{"IPv4", "127.0.0.1", "-X", nil},
		{"IPv6", "::1", "-x", onIPv6},
	} {
		t.Run(family.name, func(t *testing.T) {
			t.Parallel()
			if family.name == "IPv6" {
				needsIPv6(t)
			}
			echo := coturnsPeer(t, family.host)
			s := start(t, func(c *relay.Config) {
				roomy(family.change)(c) // it ends without ending its allocations
			})
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
				{"client to client over UDP, channels", "udp", "2", []string{"-y"}},
				{"client to client over UDP, indications", "udp", "2", []string{"-y", "-s"}},
				{"client to client over TCP, channels", "tcp", "2", []string{"-y", "-t"}},
				{"client to client over TLS, channels", "tls", "2", []string{"-y", "-t", "-S"}},
			} {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					out := run(t, client, s.coturnArgs(t, test.over, family.host, echo, as, append(test.flags,
						family.flag, "-m", test.clients, "-n", "10", "-l", "170"))) // 10 packets of 170 bytes
					if sent, received := total(t, out, "tot_send_msgs"), total(t, out, "tot_recv_msgs"); sent < 10 || received != sent {
						t.Errorf("%d sent, %d received\n%s", sent, received, out)
					}
				})
			}
		})
	}
}

// Another project's client goes where a relay that drains sends it.
func TestCoturnsClientIsSentElsewhere(t *testing.T) {
	t.Parallel()
	client, echo := tool(t, "turnutils_uclient"), coturnsPeer(t, "127.0.0.1")
	other := start(t, roomy(nil))
	s := start(t, func(c *relay.Config) {
		c.AlternateServers = []netip.AddrPort{netip.MustParseAddrPort(other.address("udp"))}
	})
	s.Drain()
	as := mint(t, "call", "alice", time.Now())
	for over, flags := range map[string][]string{"udp": nil, "tcp": {"-t"}} {
		before := other.count(t, "allocations_total", "")
		out := run(t, client, s.coturnArgs(t, over, "127.0.0.1", echo, as, append(flags, "-X", "-m", "1", "-n", "10", "-l", "170")))
		if sent, received := total(t, out, "tot_send_msgs"), total(t, out, "tot_recv_msgs"); sent < 10 || received != sent {
			t.Errorf("over %s: %d sent, %d received\n%s", over, sent, received, out)
		}
		if other.count(t, "allocations_total", "") == before || s.count(t, "redirects_total", "") == 0 {
			t.Errorf("over %s: it has not gone there\n%s", over, out)
		}
	}
}

// Fifty clients at once lose nothing: each sends every 100 ms, which is 500 packets a
// second in all, and as many back. They are fifty processes: one process with fifty
// clients (-m 50) ends when a single one of them is refused, and half of them ask for
// an even port.
func TestFiftyOfCoturnsClients(t *testing.T) {
	t.Parallel()
	client, echo := tool(t, "turnutils_uclient"), coturnsPeer(t, "127.0.0.1")
	s := start(t, roomy(nil))
	const clients, packets = 50, 20
	var lost, relayed atomic.Int32
	var wg sync.WaitGroup
	for i := range clients {
		over, flags := "udp", []string{"-X", "-m", "1", "-n", strconv.Itoa(packets), "-l", "170", "-z", "100"}
		switch i % 5 {
		case 3:
			over, flags = "tcp", append(flags, "-t")
		case 4:
			over, flags = "tls", append(flags, "-t", "-S")
		}
		if i%2 == 0 {
			flags = append(flags, "-s")
		}
		args := s.coturnArgs(t, over, "127.0.0.1", echo, mint(t, "call", strconv.Itoa(i), time.Now()), flags)
		wg.Go(func() {
			out, err := try(t.Context(), client, args)
			if err != nil {
				t.Errorf("%v\n%s", err, out)
				return
			}
			sent, received := total(t, out, "tot_send_msgs"), total(t, out, "tot_recv_msgs")
			relayed.Add(int32(received))
			lost.Add(int32(sent - received))
		})
	}
	wg.Wait()
	if lost.Load() != 0 || relayed.Load() != clients*packets {
		t.Errorf("%d of %d packets came back, %d are lost", relayed.Load(), clients*packets, lost.Load())
	}
}

// coturnArgs are the arguments of coturn's client, with those that flags are.
func (s *server) coturnArgs(t *testing.T, over, host, echo string, as credentials, flags []string) []string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.address(over))
	if err != nil {
		t.Fatal(err)
	}
	echoHost, echoPort, err := net.SplitHostPort(echo)
	if err != nil {
		t.Fatal(err)
	}
	return append(append([]string{"-u", as.username, "-w", as.password, "-p", port, "-e", echoHost, "-r", echoPort, "-c"}, // no RTCP
		flags...), host)
}

// run runs coturn's client.
func run(t *testing.T, client string, args []string) []byte {
	t.Helper()
	out, err := try(t.Context(), client, args)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// try runs coturn's client, and again while it asks for what the relay refuses: in
// half of its allocations it wants an even port.
func try(ctx context.Context, client string, args []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		out, err := exec.CommandContext(ctx, client, args...).CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("error 508")) || ctx.Err() != nil {
			return out, err
		}
	}
}

// coturnsPeer starts coturn's echo server on an address of loopback and returns where
// it is.
func coturnsPeer(t *testing.T, host string) string {
	t.Helper()
	program := tool(t, "turnutils_peer")
	free, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	addr := free.LocalAddr().(*net.UDPAddr)
	free.Close()
	cmd := exec.CommandContext(t.Context(), program, "-L", host, "-p", strconv.Itoa(addr.Port))
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
		t.Errorf("no %s in\n%s", name, bytes.TrimSpace(out))
		return -1
	}
	n, err := strconv.Atoi(string(all[len(all)-1][1]))
	if err != nil {
		t.Error(err)
	}
	return n
}
