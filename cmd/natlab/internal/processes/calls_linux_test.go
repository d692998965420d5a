package processes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"switchboard/cmd/natlab/internal/browserphone"
	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/cmd/natlab/internal/verdict"
	"switchboard/relay"
	"switchboard/relay/natlab/kernel"
)

// needLab skips where there can be no lab, but not in CI, where that would go unseen.
func needLab(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("places real calls")
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI places real calls: needs root")
		}
		t.Skip("makes network namespaces: needs root")
	}
}

// canRelayInKernel reports whether relays can have the kernel relay here. In CI they must.
func canRelayInKernel(t *testing.T) bool {
	t.Helper()
	for _, f := range kernel.Doctor() {
		if f.What != kernel.RelayingInKernel || f.OK {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI relays in the kernel: %s; %s", f.Found, f.Get)
		}
		t.Logf("relays cannot have the kernel relay: %s", f.Found)
		return false
	}
	return true
}

// shared is the engine of all tests, since its programs take a while to build.
var shared = sync.OnceValues(func() (*Engine, error) { return New(context.Background(), Options{}) })

// used is whether a test has asked for it.
var used bool

// TestMain is a browser at one side of a call, too, where the engine starts this program as
// one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "browser-phone" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(browserphone.Command(ctx, os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	code := m.Run()
	if used {
		if e, err := shared(); err == nil && e.Close() != nil {
			fmt.Fprintln(os.Stderr, "the engine's files cannot be removed")
			code = 1
		}
	}
	os.Exit(code)
}

func newEngine(t *testing.T) *Engine {
	t.Helper()
	needLab(t)
	used = true
	e, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func options(t *testing.T) engine.Options {
	return engine.Options{Client: engine.Softphone, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))}
}

// caseOf is one of the repository's scenarios.
func caseOf(t *testing.T, name, word string) scenario.Case {
	t.Helper()
	all, err := scenario.Load("../../../../configs/natlab", name)
	if err != nil {
		t.Fatal(err)
	}
	cases := all[0].Cases()
	if word != "" {
		if cases, err = scenario.Choose(cases, word); err != nil {
			t.Fatal(err)
		}
	}
	if len(cases) != 1 {
		t.Fatalf("%s has %d cases %q", name, len(cases), word)
	}
	return cases[0]
}

// place places the call of a case, which must be as expected.
func place(t *testing.T, e *Engine, c scenario.Case, o engine.Options) report.Call {
	t.Helper()
	call, err := e.Run(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	call.Client = o.Client
	if verdict.Judge(c, &call); len(call.Failures) > 0 {
		t.Errorf("%s: %s", c.Name, strings.Join(call.Failures, "; "))
		for _, m := range call.Events {
			t.Log(m.At.Round(time.Millisecond), m.Who, m.What)
		}
		for _, l := range call.Logs {
			t.Logf("the last of %s:\n%s", l.Name, l.Tail)
		}
	}
	return call
}

func TestCalls(t *testing.T) {
	e := newEngine(t)
	for _, test := range []struct {
		name string
		want scenario.Path
	}{
		{"full-cone x full-cone", scenario.Direct},
		{"port-restricted x symmetric", scenario.RelayUDP},
		{"tls-only x tls-only", scenario.RelayTLS},
	} {
		t.Run(test.name, func(t *testing.T) {
			begun := time.Now()
			call := place(t, e, caseOf(t, "classic", test.name), options(t))
			if call.Path != string(test.want) {
				t.Errorf("the path is %s, want %s", call.Path, test.want)
			}
			for _, s := range call.Sides {
				if s.End != "hangup" || s.Received == 0 || len(s.Candidates) == 0 || s.FirstMedia <= 0 {
					t.Errorf("%s has %+v", s.Host, s)
				}
			}
			t.Logf("took %v, media after %v", time.Since(begun).Round(time.Millisecond), call.Connect)
		})
	}
}

// A relay that is to relay in the kernel does, which its own counters show.
func TestKernelRelays(t *testing.T) {
	e := newEngine(t)
	if !canRelayInKernel(t) {
		t.Skip("needs a kernel that relays")
	}
	c := caseOf(t, "classic", "symmetric x symmetric").WithDataPath(relay.DataPathEBPF)
	call := place(t, e, c, options(t))
	t.Log(call.Relays)
	if len(call.Relays) != 1 || !call.Relays[0].KernelsWork || call.Relays[0].DataPath != relay.DataPathEBPF {
		t.Fatalf("relays: %+v", call.Relays)
	}
	for _, way := range []report.Relayed{call.Relays[0].Up, call.Relays[0].Down} {
		if way.ByKernel < 50 || way.Share() < 0.5 {
			t.Errorf("the kernel relayed %d of %d packets", way.ByKernel, way.Packets)
		}
	}
}

// A relay that loses its power in a call and comes back is found again; what is kept shows
// how.
func TestRelayIsKilled(t *testing.T) {
	e := newEngine(t)
	c := caseOf(t, "relay-killed", "")
	c.Relays = map[string]scenario.Relay{"relay-1": {Region: "lab"}}
	c.Events = []scenario.Event{{At: time.Second, Kill: "relay-1"}, {At: 2 * time.Second, Start: "relay-1"}}
	c.Talk = 15 * time.Second
	o := options(t)
	o.Keep = t.TempDir()
	call := place(t, e, c, o)
	if call.Gap < time.Second || call.Sides[0].Restarts+call.Sides[1].Restarts == 0 {
		t.Errorf("nothing was lost: %+v", call)
	}
	t.Logf("no media for %v", call.Gap)
	for _, name := range []string{"alice.log", "alice.pcap", "bob.log", "bob.pcap", "relay-1.log", "relay-1.pcap", "signaling.log"} {
		info, err := os.Stat(filepath.Join(o.Keep, name))
		if err != nil || info.Size() < 100 || !slices.Contains(call.Kept, filepath.Join(o.Keep, name)) {
			t.Errorf("%s is not kept: %v, %v", name, err, call.Kept)
		}
	}
}

func TestBrowsersCall(t *testing.T) {
	e := newEngine(t)
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("needs Chromium: ", err)
	}
	o := options(t)
	o.Client = engine.Chromium
	c, inKernel := caseOf(t, "browsers", "port-restricted x symmetric"), canRelayInKernel(t)
	if inKernel {
		c = c.WithDataPath(relay.DataPathEBPF)
	}
	call := place(t, e, c, o)
	for _, s := range call.Sides {
		if s.Frames == 0 {
			t.Errorf("%s decoded no video", s.Host)
		}
	}
	t.Log(call.Relays)
	if inKernel && (len(call.Relays) == 0 || call.Relays[0].Up.ByKernel == 0 || call.Relays[0].Down.ByKernel == 0) {
		t.Errorf("the kernel did not relay both ways: %+v", call.Relays)
	}
}

// A NAT that is not what it is taken for is the lab's fault, and no call is placed.
func TestNATThatIsAnother(t *testing.T) {
	e := newEngine(t)
	c := caseOf(t, "classic", "double-nat x double-nat")
	kind := e.verified.of(kindOf(c.Topology, c.Caller))
	kind.probed, kind.err = true, errors.New("it filters")
	defer func() { kind.probed, kind.err = false, nil }()
	call, err := e.Run(t.Context(), c, options(t))
	if err == nil || !strings.Contains(err.Error(), "a NAT is not what it is taken for") || call.Sides[0].Sent > 0 {
		t.Errorf("got %v and %+v", err, call)
	}
}

// A server that cannot start is the lab's fault; what it wrote says why.
func TestServerThatDoesNotStart(t *testing.T) {
	e := newEngine(t)
	c := caseOf(t, "smoke", "open x open")
	c.Relays = map[string]scenario.Relay{"relay": {Region: "no region"}}
	_, err := e.Run(t.Context(), c, options(t))
	if err == nil || !strings.Contains(err.Error(), ": get ready: it has ended") || !strings.Contains(err.Error(), "region") {
		t.Errorf("got %v", err)
	}
	if is := left(t, e); is != "" {
		t.Errorf("there are\n%s", is)
	}
}

// An engine that is told to stop in a call leaves nothing.
func TestCancelLeavesNothing(t *testing.T) {
	e := newEngine(t)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 4*time.Second, errors.New("enough"))
	defer cancel()
	c := caseOf(t, "classic", "full-cone x full-cone")
	c.Talk = time.Minute
	begun := time.Now()
	if _, err := e.Run(ctx, c, options(t)); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("cancelled: %v", err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	if is := left(t, e); is != "" {
		t.Errorf("there are\n%s", is)
	}
}

// left are the labs, processes and files of calls that this process still has.
func left(t *testing.T, e *Engine) string {
	t.Helper()
	var b strings.Builder
	states, _ := filepath.Glob("/run/natlab/*.json")
	for _, file := range states {
		text, _ := os.ReadFile(file)
		if !strings.Contains(string(text), fmt.Sprintf(`"pid":%d,`, os.Getpid())) {
			continue
		}
		fmt.Fprintln(&b, file)
		spaces, _ := filepath.Glob("/run/netns/natlab-" + strings.TrimSuffix(filepath.Base(file), ".json") + "-*")
		fmt.Fprintln(&b, spaces)
	}
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range procs {
		if line, _ := os.ReadFile(file); strings.Contains(string(line), e.dir) {
			fmt.Fprintln(&b, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	calls, _ := filepath.Glob(filepath.Join(e.dir, "call-*"))
	for _, dir := range calls {
		fmt.Fprintln(&b, dir)
	}
	return b.String()
}
