package relay

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childEnv makes this test program a relay, whose settings it has; see [Child].
const childEnv = "SWITCHBOARD_TEST_RELAY"

// ChildConfig is how a relay in a process of its own is started.
type ChildConfig struct {
	Cert, Key string
	Files     uint64 // as many as the process may have open; 0 leaves that as it is
	Rate      int    // limits.unauthenticated_per_second
}

// Child is a relay on loopback in a process of its own, whose limits and whose use of
// the CPU are nobody else's. Its secret is that of the other tests.
type Child struct {
	UDP, TCP, TLS string
	PID           int
}

// StartChild starts one, and ends it with the test.
func StartChild(t testing.TB, c ChildConfig) *Child {
	t.Helper()
	settings, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(settings))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // it ends
		if err := cmd.Wait(); err != nil {
			t.Errorf("the relay in a process of its own: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	at := strings.Fields(line)
	if err != nil || len(at) != 3 {
		t.Fatalf("the relay in a process of its own says %q, %v", line, err)
	}
	return &Child{UDP: at[0], TCP: at[1], TLS: at[2], PID: cmd.Process.Pid}
}

// runChild is the relay of [StartChild]. It serves until its standard input ends.
func runChild(settings string) error {
	var c ChildConfig
	if err := json.Unmarshal([]byte(settings), &c); err != nil {
		return err
	}
	if c.Files > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: c.Files, Max: c.Files}); err != nil {
			return err
		}
	}
	config := Default()
	config.Development = true
	config.Listen, config.TLS = "127.0.0.1:0", TLSConfig{Listen: "127.0.0.1:0", CertFile: c.Cert, KeyFile: c.Key}
	config.Secrets = []Secret{{ID: "one", Key: []byte("0123456789abcdef")}}
	config.Limits.HandshakeTimeout, config.Limits.IdleTimeout = time.Minute, time.Minute
	config.Limits.UnauthenticatedPerSecond = max(c.Rate, 1)
	s, err := New(config, Deps{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-s.Started():
			a := s.Addrs()
			os.Stdout.WriteString(a.UDP.String() + " " + a.TCP.String() + " " + a.TLS.String() + "\n")
			io.Copy(io.Discard, os.Stdin)
		case <-ctx.Done():
		}
		cancel()
	}()
	return s.Serve(ctx)
}
