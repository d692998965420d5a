package browserphone

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// newNamespace makes a network namespace with one cable, whose machine is node-1 in its
// hosts file alone, or skips the test where the kernel does not let us, but not in CI.
func newNamespace(t *testing.T) place {
	t.Helper()
	name := fmt.Sprintf("browserphone-%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("network namespaces cannot be made here: %v: %s", err, out)
		}
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

// In a namespace, names lead where its hosts file says, also those of relays over UDP,
// which Chromium looks up in another way than all others; and certificates are trusted
// that a file has.
func TestInANamespace(t *testing.T) {
	needsChromium(t)
	h := newHouseAt(t, newNamespace(t))
	h.spki = ""
	h.call(t, "udp", "-relay-only", "-transport", "udp", "-trust", h.cert)
}

// A time without packets is in the view, as long as it was, and among the moments.
func TestGap(t *testing.T) {
	needsChromium(t)
	at := newNamespace(t)
	h := newHouseAt(t, at)
	bobs := newNumber()
	bob := at.start(t, "bob", h.phone(bobs, "-answer")...)
	bob.await(Online)
	ann := at.start(t, "ann", h.phone(newNumber(), "-call", bobs)...)
	both := []*child{ann, bob}
	for _, c := range both {
		c.await(FirstFrame)
	}
	ann.talksFor(bob, time.Second)
	const gap = 2 * time.Second
	loopback := func(state string) { // by which all goes in there
		if out, err := at.command("ip", "link", "set", "lo", state).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	loopback("down")
	begun := time.Now()
	time.Sleep(gap)
	loopback("up")
	took := time.Since(begun)
	for _, c := range both {
		c.await("sound is back")
	}
	ann.talksFor(bob, time.Second)
	ann.order(HangUp)
	for _, c := range both {
		c.ends(CodeOK)
		if c.side == nil {
			t.Fatalf("%s has no view", c.name)
		}
		if got := c.side.Gap; got < gap-100*time.Millisecond || got > took+8*time.Second {
			t.Errorf("%s had no sound for %v, want %v to %v and the time to recover", c.name, got, gap, took)
		}
		if !c.has("no more sound") {
			t.Errorf("%s does not say when sound was gone", c.name)
		}
		t.Logf("%s had no sound for %v, of which %v are ours", c.name, c.side.Gap, took)
	}
}
