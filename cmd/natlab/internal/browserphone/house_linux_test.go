package browserphone

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the real server, built once.
var binary struct {
	once sync.Once
	dir  string
	err  error
}

func buildServer(t *testing.T) string {
	t.Helper()
	binary.once.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "natlab-browserphone-"); binary.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", binary.dir, "switchboard/cmd/switchboard").CombinedOutput()
		if err != nil {
			binary.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatalf("build the server: %v", binary.err)
	}
	return filepath.Join(binary.dir, "switchboard")
}

// house is a server with a relay in a process of its own, reached over HTTPS with a
// certificate that nobody has vouched for.
type house struct {
	url, codes, spki, cert string
	place                  place
}

// place is where a house and its phones are: the name and the address of their machine, and
// what goes before a command to run it there.
type place struct {
	name, address string
	before        []string
}

var here = place{"localhost", "127.0.0.1", nil}

func newHouse(t *testing.T) *house { return newHouseAt(t, here) }

func newHouseAt(t *testing.T, at place) *house {
	t.Helper()
	needsChromium(t)
	dir := t.TempDir()
	h := &house{codes: filepath.Join(dir, "data", "codes.log"), place: at}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	h.cert, h.spki = cert, selfSigned(t, at.name, cert, key)
	addrs := filepath.Join(dir, "addrs.json")
	cmd := at.command(buildServer(t), "-addr-file", addrs)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"SWITCHBOARD_DEVELOPMENT=true", "SWITCHBOARD_HTTP_LISTEN="+at.name+":0", "SWITCHBOARD_OPS_LISTEN="+at.address+":0", "SWITCHBOARD_ADMIN_LISTEN=",
		"SWITCHBOARD_HTTP_TLS_CERT_FILE="+cert, "SWITCHBOARD_HTTP_TLS_KEY_FILE="+key,
		"SWITCHBOARD_RELAY_LISTEN="+at.address+":0", "SWITCHBOARD_RELAY_TLS_LISTEN="+at.address+":0",
		"SWITCHBOARD_RELAY_TLS_CERT_FILE="+cert, "SWITCHBOARD_RELAY_TLS_KEY_FILE="+key, "SWITCHBOARD_ICE_HOST="+at.name,
		"SWITCHBOARD_AUTH_ADDRESS_BURST=100", "SWITCHBOARD_AUTH_CODE_RESEND=1ms")
	file := filepath.Join(dir, "log")
	log, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(file)
			t.Logf("the server's log:\n%s", said)
		}
	})
	var a struct{ URL string }
	until(t, "the server is ready", func() bool {
		b, err := os.ReadFile(addrs)
		return err == nil && json.Unmarshal(b, &a) == nil
	})
	u, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	h.url = "https://" + net.JoinHostPort(at.name, u.Port())
	return h
}

// command is one that runs there.
func (p place) command(program string, args ...string) *exec.Cmd {
	all := slices.Concat(p.before, []string{program}, args)
	return exec.Command(all[0], all[1:]...)
}

// needsChromium skips a test where there is no browser, but not in CI, where that would
// go unseen.
func needsChromium(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a browser")
	}
	if _, err := Find(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// patience is how long anything in a browser may take on a busy machine.
const patience = 90 * time.Second

// until polls what another process does.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not in time", what)
		}
	}
}
