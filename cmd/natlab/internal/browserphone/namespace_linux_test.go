package browserphone

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// newNamespace makes a network namespace with one cable, whose machine is node-1 in its
// hosts file alone, or skips the test where the kernel does not let us.
func newNamespace(t *testing.T) place {
	t.Helper()
	name := fmt.Sprintf("browserphone-%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("network namespaces cannot be made here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	files := filepath.Join("/etc/netns", name)
	if err := os.MkdirAll(files, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.RemoveAll(files)
		_ = os.Remove(filepath.Dir(files)) // unless there are others'
	})
	at := place{"node-1", "198.51.100.1", []string{"ip", "netns", "exec", name}}
	for file, text := range map[string]string{"hosts": at.address + " " + at.name + "\n", "resolv.conf": "nameserver 127.0.0.1\n"} {
		if err := os.WriteFile(filepath.Join(files, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", "eth0", "type", "veth", "peer", "name", "eth1"},
		{"addr", "add", at.address + "/24", "dev", "eth0"},
		{"link", "set", "eth0", "up"},
		{"link", "set", "eth1", "up"},
		{"route", "add", "default", "via", "198.51.100.2"},
	} {
		if out, err := exec.Command("ip", slices.Concat([]string{"-n", name}, args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v: %s", args, err, out)
		}
	}
	return at
}

// In a namespace, names lead where its hosts file says, also those of relays over each
// transport, and certificates are those that a file has.
func TestInANamespace(t *testing.T) {
	needsChromium(t)
	h := newHouseAt(t, newNamespace(t))
	h.spki = ""
	for _, test := range []struct {
		name  string
		relay string
		args  []string
	}{
		{"direct", "", nil},
		{"relay over UDP", "udp", []string{"-relay-only", "-transport", "udp"}},
		{"relay over TLS", "tls", []string{"-relay-only", "-transport", "tls"}},
	} {
		t.Run(test.name, func(t *testing.T) { h.call(t, test.relay, append(test.args, "-trust", h.cert)...) })
	}
}
