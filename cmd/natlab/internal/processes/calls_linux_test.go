package processes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/cmd/natlab/internal/verdict"
)

// needLab skips where there can be no lab.
func needLab(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("places real calls")
	}
	if os.Geteuid() != 0 {
		t.Skip("makes network namespaces: needs root")
	}
}

// shared is the engine of all tests, since its programs take a while to build.
var shared = sync.OnceValues(func() (*Engine, error) { return New(context.Background(), Options{}) })

func TestMain(m *testing.M) {
	code := m.Run()
	if e, err := shared(); err == nil && !testing.Short() && os.Geteuid() == 0 {
		if err := e.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func newEngine(t *testing.T) *Engine {
	t.Helper()
	needLab(t)
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
func place(t *testing.T, e *Engine, c scenario.Case) report.Call {
	t.Helper()
	call, err := e.Run(t.Context(), c, options(t))
	if err != nil {
		t.Fatal(err)
	}
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
			call := place(t, e, caseOf(t, "classic", test.name))
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

// A relay that loses its power in a call is left for another.
func TestRelayIsKilled(t *testing.T) {
	e := newEngine(t)
	c := caseOf(t, "relay-killed", "")
	c.Relays = map[string]scenario.Relay{"relay-1": {Region: "lab"}}
	c.Events = []scenario.Event{{At: time.Second, Kill: "relay-1"}, {At: 2 * time.Second, Start: "relay-1"}}
	c.Talk = 15 * time.Second
	call := place(t, e, c)
	if call.Gap < time.Second || call.Sides[0].Restarts+call.Sides[1].Restarts == 0 {
		t.Errorf("nothing was lost: %+v", call)
	}
	t.Logf("no media for %v", call.Gap)
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
