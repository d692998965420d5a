package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"switchboard/relay"
)

// patience is how long anything may take that has to happen.
const patience = 20 * time.Second

// needs skips a test where namespaces cannot be made, and says why.
func needs(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("ip is missing; Debian has it in iproute2, and make test installs it")
		}
		t.Skip("ip is missing, so make bench-relay is not tested; Debian has it in iproute2")
	}
	if runtime.NumCPU() < 2 {
		t.Skip("one core: make bench-relay, which needs two, is not tested")
	}
	try := exec.Command("true")
	try.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if err := try.Run(); err != nil {
		t.Skipf("network namespaces cannot be made here, so make bench-relay is not tested: %v", err)
	}
}

// TestRun runs the program: all that can be measured here, one allocation, a moment, both
// ways, with both families.
func TestRun(t *testing.T) {
	needs(t)
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "switchboard/cmd/switchboard", ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	measured := available(t)
	bench := exec.CommandContext(t.Context(), filepath.Join(dir, "benchrelay"), "-switchboard", filepath.Join(dir, "switchboard"),
		"-only", strings.Join(measured, ","), "-ipv6", "-rows", "/172/1$", "-rounds", "1", "-rate", "1000", "-probe", "100ms", "-peak=false")
	bench.Cancel = func() error { return bench.Process.Signal(os.Interrupt) }
	bench.WaitDelay = patience
	out, err := bench.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, row := range []string{"up/172/1", "down/172/1", "up6/172/1", "down6/172/1"} {
		for _, server := range measured {
			found := regexp.MustCompile(`(?m)^` + row + ` +4 ` + server + ` +\| +([0-9.]+) `).FindSubmatch(out)
			if found == nil {
				t.Errorf("no row %s of %s", row, server)
				continue
			}
			// Anything from a very fast machine to a very slow one.
			if cost, err := strconv.ParseFloat(string(found[1]), 64); err != nil || cost < 0.1 || cost > 5000 {
				t.Errorf("a packet of %s costs %s %s µs", row, server, found[1])
			}
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// available are the servers that can be measured here.
func available(t *testing.T) []string {
	t.Helper()
	programs := map[string]string{coturn: "turnserver", translator: "nft"}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, err := exec.LookPath(programs[name])
		if programs[name] == "" || err == nil {
			return false
		}
		t.Logf("%s is not installed, and %s not measured", programs[name], name)
		return true
	})
}

// newTestCable lays a cable that is taken away after the test.
func newTestCable(t *testing.T) *cable {
	t.Helper()
	needs(t)
	c, err := newCable(ipv4, 0, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// Several packets that a relay gives the kernel as one are counted as several.
func TestSegmentsAreCounted(t *testing.T) {
	const n, size = 10, 172
	c := newTestCable(t)
	received, err := c.generator.counter("rx_packets")
	if err != nil {
		t.Fatal(err)
	}
	defer received.file.Close()
	before, err := received.read()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.relay.space.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, size); err != nil {
			return fmt.Errorf("UDP_SEGMENT: %w", err)
		}
		return unix.Sendto(fd, make([]byte, n*size), 0, &unix.SockaddrInet4{Addr: ipv4.generator.As4(), Port: 9999})
	}); errors.Is(err, unix.ENOPROTOOPT) {
		t.Skip("this kernel does not segment UDP")
	} else if err != nil {
		t.Fatal(err)
	}
	got := 0
	for deadline := time.Now().Add(patience); got < n && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		now, err := received.read()
		if err != nil {
			t.Fatal(err)
		}
		got = now - before
	}
	if got != n {
		t.Errorf("%d packets were counted of %d", got, n)
	}
}

// Frames are what the kernel takes for packets of UDP, whose checksums it checks.
func TestFrames(t *testing.T) {
	c := newTestCable(t)
	g, err := newGenerator(&c.generator, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	to := netip.AddrPortFrom(ipv4.relay, 9999)
	var fd int
	if err := c.relay.space.do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience.Seconds())}); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: ipv4.relay.As4(), Port: int(to.Port())})
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, size := range []int{4, 5, 171, 172, 1200, 1201} {
		want := payload(7, size)
		if _, err := g.send(newLoad([][]byte{frame(netip.AddrPortFrom(ipv4.generator, 5000), to, want)}, 1), 1); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2048)
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if string(b[:n]) != string(want) {
			t.Errorf("%d bytes: others came, %d of them", size, n)
		}
	}
}

// Nothing is left of a cable.
func TestCableGoes(t *testing.T) {
	needs(t)
	c, err := newCable(ipv4, 0, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := "napi/" + c.relay.name + "-"
	if c.relay.napi == 0 {
		t.Skip("this kernel has no thread that receives")
	}
	c.close()
	for deadline := time.Now().Add(patience); kernelThread(name) != 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("its end at the relay is still there")
		}
	}
}

// No limit that the relay has bites: each is as high as it may be, those that it
// will have, too.
func TestSettings(t *testing.T) {
	text, err := settings(t.TempDir(), netip.MustParseAddrPort("10.77.0.1:3478"), "127.0.0.1:8081", relay.DataPathUser, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Relay relay.Config `yaml:"relay"`
	}
	got.Relay = relay.Default()
	if err := yaml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	c := got.Relay
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.Bandwidth != (relay.Bandwidth{}) {
		t.Errorf("bandwidth is bounded: %+v", c.Bandwidth)
	}
	const most = 10000 // allocations that are made
	for name, n := range map[string]int{
		"allocations": c.Quotas.Allocations, "allocations_per_source": c.Quotas.AllocationsPerSource,
		"unauthenticated_per_second": c.Limits.UnauthenticatedPerSecond,
	} {
		if n < most {
			t.Errorf("%s is %d", name, n)
		}
	}
}

// What is missing is said.
func TestCheck(t *testing.T) {
	o := &options{switchboard: "/nowhere", rounds: 1, rate: 1, probe: time.Second, relayCore: 1, generatorCore: 1}
	t.Setenv("PATH", "")
	err := o.check()
	if err == nil {
		t.Fatal("nothing is missing")
	}
	for _, want := range []string{"two cores", "iproute2", "/nowhere"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in %v", want, err)
		}
	}
}
