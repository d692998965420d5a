package main

import (
	"errors"
	"fmt"
	"net"
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

// built is where both programs are, once some test has wanted them.
var built string

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// build builds both programs, once.
func build(t *testing.T) (dir string) {
	t.Helper()
	if built != "" {
		return built
	}
	dir, err := os.MkdirTemp("", "benchrelay-test-")
	if err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "switchboard/cmd/switchboard", ".")
	if out, err := build.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		t.Fatalf("build: %v\n%s", err, out)
	}
	built = dir
	return built
}

// TestRun runs the program: all that can be measured here, one allocation, a moment, one
// way with each family.
func TestRun(t *testing.T) {
	needs(t)
	dir := build(t)
	measured := available(t)
	bench := exec.CommandContext(t.Context(), filepath.Join(dir, "benchrelay"), "-switchboard", filepath.Join(dir, "switchboard"),
		"-only", strings.Join(measured, ","), "-ipv6", "-rows", "^(up|down6)/172/1$", "-rounds", "1", "-rate", "1000", "-probe", "100ms", "-peak=false")
	bench.Cancel = func() error { return bench.Process.Signal(os.Interrupt) }
	bench.WaitDelay = patience
	out, err := bench.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, row := range []string{"up/172/1", "down6/172/1"} {
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

// What went another way than the one that is to be measured is no figure of that.
func TestOtherWays(t *testing.T) {
	needs(t)
	program := filepath.Join(build(t), "switchboard")
	for is, wants := range map[string]map[string]string{ // what is said for which path
		relay.DataPathEBPF: {relay.DataPathEBPF: "", relay.DataPathUser: "should have relayed none"},
		relay.DataPathUser: {relay.DataPathEBPF: "the kernel relayed 0", relay.DataPathUser: ""},
	} {
		t.Run(is, func(t *testing.T) {
			s, err := switchboard(ipv4, "relay", is, program, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			b, err := newBench(&options{relayCore: 0, generatorCore: 1}, ipv4, s)
			if err != nil {
				t.Fatal(err)
			}
			defer b.close()
			if err := s.start(t.Context(), b.cable); err != nil {
				t.Fatal(err)
			}
			flows, err := b.cable.openAll(t.Context(), s, 1, true)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(flows)
			if err := b.check(flows, up, 172, 4); err != nil {
				t.Fatal(err)
			}
			b.warm(t, flows)
			for says, want := range wants {
				s.path = says
				if err := b.relaySome(t, flows); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("for %s: got %v, want %q", says, err, want)
				}
			}
		})
	}
}

// warm has packets relayed until the kernel does it, where it is to.
func (b *bench) warm(t *testing.T, flows []*flow) {
	t.Helper()
	if b.server.path != relay.DataPathEBPF {
		return
	}
	for deadline := time.Now().Add(patience); ; {
		if b.relaySome(t, flows) == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the kernel relays nothing")
		}
	}
}

// relaySome has some packets relayed, and says whether they went the server's way.
func (b *bench) relaySome(t *testing.T, flows []*flow) error {
	t.Helper()
	before, err := b.begin()
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.probe(t.Context(), newLoad(frames(flows, up, 172), 4), 1000, 100*time.Millisecond)
	if err != nil || p.delivered == 0 {
		t.Fatalf("%d delivered, %v", p.delivered, err)
	}
	return errors.Join(b.checkShare(t.Context(), before, least), b.checkNone(t.Context(), before))
}

// A thread's clock counts what it runs, and what the processes run that it starts, and no time
// in which they do not.
func TestClock(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: its clock ends with it
	c, err := newClock(0)
	if err != nil {
		t.Skip(err)
	}
	defer c.close()
	took := func(f func()) time.Duration {
		before, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		f()
		after, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		return after - before
	}
	pause := took(func() { unix.Nanosleep(&unix.Timespec{Nsec: 3e8}, nil) })
	spin := took(func() {
		var before, now unix.Timespec
		for unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &before); now.Nano() < before.Nano()+1e8; {
			unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now)
		}
	})
	program := took(func() {
		if out, err := exec.Command("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	})
	if pause > spin/4 || spin < 5e7 || program < 2e7 {
		t.Errorf("asleep %v, busy for 100 ms %v, a program that counts to 100,000 %v", pause, spin, program)
	}
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
	for _, f := range []*family{ipv4, ipv6} {
		t.Run(f.network, func(t *testing.T) {
			needs(t)
			c, err := newCable(f, 0, 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			g, err := newGenerator(&c.generator, 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer g.close()
			var conn *net.UDPConn
			if err := c.relay.space.do(func() (err error) {
				conn, err = net.ListenUDP(f.network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.relay, 9999)))
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for _, size := range []int{4, 5, 171, 172, 1200, 1201} {
				want := payload(7, size)
				if _, err := g.send(newLoad([][]byte{frame(netip.AddrPortFrom(f.generator, 5000), address(conn), want)}, 1), 1); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 2048)
				conn.SetReadDeadline(time.Now().Add(patience))
				n, _, err := conn.ReadFromUDPAddrPort(b)
				if err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				if string(b[:n]) != string(want) {
					t.Errorf("%d bytes: others came, %d of them", size, n)
				}
			}
		})
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

// Ratios are to coturn and to the relay's own process, where those were measured, and at
// most 1 where a figure is as good.
func TestRatios(t *testing.T) {
	all := results{}
	for name, cost := range map[string]float64{kernelPath: 2, userPath: 5, coturn: 10} {
		all[name] = &result{woken: costs{all: []float64{cost}}, peak: []float64{1 / cost}}
	}
	cost := ratios(func(x *result) float64 { return median(x.woken.all) })
	peak := ratios(func(x *result) float64 { return 1 / median(x.peak) })
	for name, want := range map[string]string{kernelPath: "0.20 0.40", userPath: "0.50 -", coturn: "- 2.00"} {
		for what, got := range map[string]string{"CPU": cost(all[name], all), "packets": peak(all[name], all)} {
			if got := strings.Join(strings.Fields(got), " "); got != want {
				t.Errorf("%s of %s: got %s, want %s", what, name, got, want)
			}
		}
	}
	if got := strings.Fields(cost(all[kernelPath], results{kernelPath: all[kernelPath]})); !slices.Equal(got, []string{"-", "-"}) {
		t.Errorf("of one that is alone: got %v", got)
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
