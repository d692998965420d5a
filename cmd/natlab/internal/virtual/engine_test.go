package virtual

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"switchboard/cmd/natlab/internal/bubble"
	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/cmd/natlab/internal/verdict"
	"switchboard/relay/natlab"
)

// blocked and tls are firewalls, behind a NAT that lets all calls connect.
var (
	open    = natlab.RouterSpec{NAT: &natlab.FullCone}
	cone    = natlab.RouterSpec{NAT: &natlab.PortRestricted}
	strict  = natlab.RouterSpec{NAT: &natlab.Symmetric}
	noUDP   = natlab.RouterSpec{NAT: &natlab.FullCone, Firewall: natlab.Firewall{BlockUDP: true}}
	onlyTLS = natlab.RouterSpec{NAT: &natlab.FullCone, Firewall: natlab.Firewall{BlockUDP: true, TCPPorts: []uint16{443}}}
)

// pair is a call between alice and bob, each behind a router, with a relay and a node.
func pair(a, b natlab.RouterSpec, path scenario.Path) scenario.Case {
	a.Inside, a.Outside, b.Inside, b.Outside = "home-a", natlab.Internet, "home-b", natlab.Internet
	return scenario.Case{
		Scenario: "test", Caller: "alice", Callee: "bob", Signaling: []string{"node"}, Relays: map[string]scenario.Relay{"relay": {}},
		Topology: natlab.Topology{
			Networks: map[string]natlab.NetworkSpec{"home-a": {}, "home-b": {}},
			Routers:  map[string]natlab.RouterSpec{"nat-a": a, "nat-b": b},
			Hosts: map[string]natlab.HostSpec{
				"alice": {Networks: []string{"home-a"}}, "bob": {Networks: []string{"home-b"}},
				"node": {Networks: []string{natlab.Internet}}, "relay": {Networks: []string{natlab.Internet}},
			},
		},
		Talk:   2 * time.Second,
		Expect: scenario.Expect{Path: path, ConnectWithin: 5 * time.Second, Gap: time.Second, Lost: 0.02},
	}
}

// journal is a log that is searched for what may not be in it.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// run places the call of a case.
func run(t *testing.T, c scenario.Case, seed uint64) report.Call {
	t.Helper()
	e, err := New(bubble.In(t))
	if err != nil {
		t.Fatal(err)
	}
	var j journal
	call, err := e.Run(t.Context(), c, engine.Options{
		Seed: seed, Client: engine.Softphone, Log: slog.New(slog.NewTextHandler(&j, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	verdict.Judge(c, &call)
	for _, secret := range []string{numbers[0][1:], numbers[1][1:], "v=0", "a=ice-pwd", "token-"} {
		if strings.Contains(j.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, j.String())
	}
	return call
}

func story(c report.Call) string {
	var b strings.Builder
	for _, m := range c.Events {
		fmt.Fprintf(&b, "%8.3fs %-8s %s\n", m.At.Seconds(), m.Who, m.What)
	}
	return b.String()
}

func TestPaths(t *testing.T) {
	for _, test := range []struct {
		name string
		a, b natlab.RouterSpec
		want scenario.Path
	}{
		{"full cones", open, open, scenario.Direct},
		{"port-restricted cones", cone, cone, scenario.Direct},
		{"symmetric and full cone", strict, open, scenario.Direct},
		{"symmetric and port-restricted", strict, cone, scenario.RelayUDP},
		{"symmetric", strict, strict, scenario.RelayUDP},
		{"no UDP", noUDP, cone, scenario.RelayTCP},
		{"TLS only", onlyTLS, cone, scenario.RelayTLS},
		{"TLS only, and no UDP", noUDP, onlyTLS, scenario.RelayTLS},
	} {
		t.Run(test.name, func(t *testing.T) {
			call := run(t, pair(test.a, test.b, test.want), 1)
			for _, f := range call.Failures {
				t.Error(f)
			}
			if t.Failed() {
				t.Logf("%+v\n%s", call.Sides, story(call))
			}
			t.Logf("%s: connected in %v, in %v", call.Path, call.Connect, call.Took)
		})
	}
}

// TestNoRelay has nothing between two symmetric NATs.
func TestNoRelay(t *testing.T) {
	c := pair(strict, strict, scenario.None)
	delete(c.Topology.Hosts, "relay")
	c.Relays = nil
	call := run(t, c, 1)
	if call.Path != string(scenario.None) || len(call.Failures) > 0 {
		t.Errorf("%s %v", call.Path, call.Failures)
	}
	c.Expect.Path = scenario.RelayUDP
	call = run(t, c, 1)
	if len(call.Failures) == 0 || !strings.Contains(call.Failures[0], "did not connect") {
		t.Errorf("a call without a relay passes: %v", call.Failures)
	}
}

// TestNoKernel has a relay that is to relay in the kernel, which is not to be had here.
func TestNoKernel(t *testing.T) {
	c := pair(strict, strict, scenario.RelayUDP)
	if call := run(t, c.WithDataPath("user"), 1); len(call.Failures) > 0 || call.Skipped != "" {
		t.Errorf("a relay in user space: %+v", call)
	}
	if call := run(t, c.WithDataPath("ebpf"), 1); !strings.Contains(call.Skipped, "in the kernel") || call.Path != "" {
		t.Errorf("a call was placed: %+v", call)
	}
}

// TestOpenRelay has a relay whose permissions are broken on purpose noticed, whatever else a
// call shows, and one whose are not left in peace.
func TestOpenRelay(t *testing.T) {
	for _, tags := range []string{"", "brokenpermissions"} {
		cmd := exec.CommandContext(t.Context(), "go", "run", "-tags", tags, "switchboard/cmd/natlab", "run", "--scenarios", "../../../../configs/natlab", "smoke", "--case", "port-restricted × port-restricted")
		out, err := cmd.CombinedOutput()
		noticed := bytes.Contains(out, []byte("lets who has no permission send to a client"))
		if want := tags != ""; noticed != want || (err != nil) != want {
			t.Errorf("with the tags %q: %v\n%s", tags, err, out)
		}
	}
}

// TestKeep has what a person wants to look into: a log, and what each side sent and
// received.
func TestKeep(t *testing.T) {
	e, err := New(bubble.In(t))
	if err != nil {
		t.Fatal(err)
	}
	call, err := e.Run(t.Context(), pair(strict, strict, scenario.RelayUDP), engine.Options{
		Seed: 1, Client: engine.Softphone, Log: slog.New(slog.DiscardHandler), Keep: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int64{}
	for _, file := range call.Kept {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		sizes[filepath.Base(file)] = info.Size()
	}
	const packets = 200 * 200 // two seconds each way, in bytes
	for file, least := range map[string]int64{"log.txt": 100, "alice.pcap": packets, "bob.pcap": packets, "relay.pcap": packets} {
		if sizes[file] < least {
			t.Errorf("%s has %d bytes, of files %v", file, sizes[file], sizes)
		}
	}
}
