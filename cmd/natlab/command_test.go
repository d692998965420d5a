package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/engine/enginetest"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

// ran is what a run of the program came to.
type ran struct {
	code           int
	stdout, stderr string
	dir            string
}

// lab is a program with a fake engine under both names.
func lab(t *testing.T, f *enginetest.Fake) *program {
	t.Helper()
	open := func(as string) opener {
		return func(context.Context, *slog.Logger) (engine.Engine, error) {
			f.As = as
			return f, nil
		}
	}
	return &program{
		environ: []string{"NATLAB_SCENARIOS=../../configs/natlab"}, now: time.Now, width: func(io.Writer) int { return 0 },
		engines: map[string]opener{engine.Virtual: open(engine.Virtual), engine.Kernel: open(engine.Kernel)},
		clean:   func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, "clean\n"); return err },
		doctor:  func(context.Context, io.Writer) error { return errors.New("no root") },
	}
}

// do runs it. Arguments may name files as DIR/name, in a directory of the test.
func do(ctx context.Context, t *testing.T, p *program, args ...string) ran {
	t.Helper()
	dir := t.TempDir()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR/", dir+"/")
	}
	var stdout, stderr bytes.Buffer
	p.stdout, p.stderr = &stdout, &stderr
	code := p.run(ctx, args)
	return ran{code, stdout.String(), stderr.String(), dir}
}

func (r ran) want(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.stdout, stdout) || !strings.Contains(r.stderr, stderr) {
		t.Errorf("exit %d, want %d with %q and %q\nstdout:\n%s\nstderr:\n%s", r.code, code, stdout, stderr, r.stdout, r.stderr)
	}
}

func TestExitCodes(t *testing.T) {
	worse := func(_ context.Context, c scenario.Case, _ engine.Options, r *report.Call) error {
		if c.CallerAccess == "open" {
			r.Path = "relay/tls"
		}
		return nil
	}
	broken := func(context.Context, scenario.Case, engine.Options, *report.Call) error { return errors.New("no disk") }
	tests := []struct {
		name           string
		change         func(context.Context, scenario.Case, engine.Options, *report.Call) error
		args           string
		code           int
		stdout, stderr string
	}{
		{"nothing", nil, "", exitUsage, "", "usage: natlab COMMAND"},
		{"help", nil, "help", exitOK, "usage: natlab COMMAND", ""},
		{"help of a command", nil, "run -h", exitOK, "--write-baseline FILE", ""},
		{"help by name", nil, "help run", exitOK, "--write-baseline FILE", ""},
		{"version", nil, "--version", exitOK, "natlab ", ""},
		{"an unknown command", nil, "rnu", exitUsage, "", `no command "rnu"`},
		{"an unknown flag", nil, "run --fast", exitUsage, "", "flag provided but not defined: -fast; see natlab run -h"},
		{"an unknown scenario", nil, "run smoek", exitUsage, "", "is it smoke?"},
		{"an unknown case", nil, "run smoke --case opne", exitUsage, "", `smoke: there is no case "opne"`},
		{"an unknown engine", nil, "run --engine cloud", exitUsage, "", "there are virtual and kernel"},
		{"a scenario of the other engine", nil, "run matrix --engine kernel", exitUsage, "", "matrix is not for the kernel engine: nftables"},
		{"a browser in memory", nil, "run --browser --engine virtual", exitUsage, "", "a browser needs a real network"},
		{"an unknown data path", nil, "run --engine kernel --data-path xdp", exitUsage, "", `--data-path: "xdp" is none of auto, ebpf, user, plain`},
		{"a data path in memory", nil, "run smoke --data-path ebpf", exitUsage, "", "relays in memory have no choice; add --engine kernel"},
		{"a data path", nil, "run smoke --engine kernel --data-path ebpf", exitOK, "5 as expected", ""},
		{"no times", nil, "run smoke --repeat 0", exitUsage, "", "--repeat 0 is not between 1 and 10000"},
		{"a margin", nil, "run smoke --margin wide", exitUsage, "", "a margin is a share"},
		{"no baseline", nil, "run smoke --baseline DIR/none.json", exitUsage, "", "write one with --write-baseline"},
		{"all as expected", nil, "run smoke", exitOK, "5 as expected", ""},
		{"flags before the name", nil, "run --seed 7 smoke vpn --repeat 2", exitOK, "12 as expected", ""},
		{"one case", nil, "run smoke --case caller=open", exitOK, "1 as expected", ""},
		{"one case of several scenarios", nil, "run smoke classic --case caller=symmetric,callee=symmetric", exitOK, "2 as expected", ""},
		{"something is not as expected", worse, "run smoke", exitFailed, "the path is relay/tls, expected host, which is better", "✗ smoke: open × open: the path is relay/tls"},
		{"the lab did not work", broken, "run smoke --case caller=open", exitLab, "1 in which the lab did not work", ""},
		{"the lab never works", broken, "run classic --jobs 1", exitLab, "0 as expected, 5 in which the lab did not work", "the lab did not work 5 times in a row"},
		{"list", nil, "list", exitOK, "matrix                virtual          121", ""},
		{"list one", nil, "list smoke", exitOK, "1 scenario, 5 cases", ""},
		{"explain", nil, "explain smoke", exitOK, "relay/tls", ""},
		{"explain nothing", nil, "explain", exitUsage, "", "natlab explain takes a scenario"},
		{"clean", nil, "clean", exitOK, "clean", ""},
		{"clean what", nil, "clean all", exitUsage, "", "takes no arguments"},
		{"doctor", nil, "doctor", exitLab, "", "no root"},
		{"a report where there is no directory", nil, "run smoke --json DIR/no/r.json", exitLab, "5 calls", "no such file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &enginetest.Fake{Change: test.change}
			r := do(t.Context(), t, lab(t, f), strings.Fields(test.args)...)
			r.want(t, test.code, test.stdout, test.stderr)
			if f.Runs() > 0 && f.Closed() != 1 {
				t.Errorf("closed %d times", f.Closed())
			}
		})
	}
}

func TestNoEngine(t *testing.T) {
	p := lab(t, nil)
	p.engines = map[string]opener{engine.Virtual: func(context.Context, *slog.Logger) (engine.Engine, error) { return nil, errors.New("no memory") }}
	do(t.Context(), t, p, "run", "smoke").want(t, exitLab, "", "the virtual engine: no memory")
	do(t.Context(), t, p, "run", "smoke", "--engine", "kernel").want(t, exitLab, "", "this program has no kernel engine")
}

func TestCloseFails(t *testing.T) {
	f := &enginetest.Fake{OnClose: errors.New("a namespace is left")}
	do(t.Context(), t, lab(t, f), "run", "smoke").want(t, exitLab, "5 as expected", "a namespace is left")
}

// TestFiles looks at every form of the report.
func TestFiles(t *testing.T) {
	r := do(t.Context(), t, lab(t, &enginetest.Fake{}), "run", "smoke", "--json", "DIR/r.json", "--junit", "DIR/r.xml", "--html", "DIR/r.html", "--write-baseline", "DIR/b.json", "--keep", "DIR/kept")
	r.want(t, exitOK, "5 as expected", "")
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var all report.Report
	if err := json.Unmarshal(read("r.json"), &all); err != nil || len(all.Calls) != 5 || all.Calls[0].Rerun != "natlab run smoke --case 'open × open' --seed 1" {
		t.Errorf("%v: %+v", err, all)
	}
	var suites struct {
		Tests int `xml:"tests,attr"`
	}
	if err := xml.Unmarshal(read("r.xml"), &suites); err != nil || suites.Tests != 5 {
		t.Errorf("%v: %+v", err, suites)
	}
	if !bytes.Contains(read("r.html"), []byte("</html>")) {
		t.Error("the page is not whole")
	}
	if b, err := report.ReadBaseline(bytes.NewReader(read("b.json"))); err != nil || len(b.Cases) != 5 {
		t.Errorf("%v: %+v", err, b)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "kept", "smoke-open-x-open-seed1")); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(r.dir, ".natlab-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestJSONAlone(t *testing.T) {
	r := do(t.Context(), t, lab(t, &enginetest.Fake{}), "run", "smoke", "--json", "-")
	var all report.Report
	if err := json.Unmarshal([]byte(r.stdout), &all); err != nil || r.code != exitOK || len(all.Calls) != 5 {
		t.Errorf("exit %d, %v:\n%s", r.code, err, r.stdout)
	}
}

// TestBaseline writes one, and runs again when something is slower, on a path that is worse,
// new or gone.
func TestBaseline(t *testing.T) {
	b := filepath.Join(t.TempDir(), "b.json")
	do(t.Context(), t, lab(t, &enginetest.Fake{}), "run", "smoke", "--write-baseline", b).want(t, exitOK, "", "")
	do(t.Context(), t, lab(t, &enginetest.Fake{}), "run", "smoke", "--baseline", b).want(t, exitOK, "5 cases as they were", "")
	do(t.Context(), t, lab(t, &enginetest.Fake{}), "run", "smoke", "--json", b+".json").want(t, exitOK, "", "")
	do(t.Context(), t, lab(t, &enginetest.Fake{}), "run", "smoke", "--baseline", b+".json").want(t, exitUsage, "", "this is no baseline: it has no cases")
	slow := &enginetest.Fake{Change: func(_ context.Context, c scenario.Case, _ engine.Options, r *report.Call) error {
		if c.CallerAccess == "symmetric" {
			r.Connect += 2 * time.Second
		}
		return nil
	}}
	do(t.Context(), t, lab(t, slow), "run", "smoke", "--baseline", b).want(t, exitFailed, "✗ worse smoke: symmetric × symmetric: connected after 2.", "")
	do(t.Context(), t, lab(t, slow), "run", "smoke", "--baseline", b, "--margin", "5000%").want(t, exitOK, "5 cases as they were", "")
	do(t.Context(), t, lab(t, &enginetest.Fake{}), "run", "smoke", "--case", "caller=open", "--baseline", b).want(t, exitOK, "1 case as it was", "")
	r := do(t.Context(), t, lab(t, &enginetest.Fake{}), "run", "smoke", "vpn", "--baseline", b)
	r.want(t, exitOK, "new, not in the baseline: vpn", "")
	if err := os.WriteFile(b, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	do(t.Context(), t, lab(t, &enginetest.Fake{}), "run", "smoke", "--baseline", b).want(t, exitUsage, "", "no baseline of version 1")
}

// TestBrowsers are on the kernel engine, on both sides.
func TestBrowsers(t *testing.T) {
	var clients []string
	var mu sync.Mutex
	f := &enginetest.Fake{Change: func(_ context.Context, _ scenario.Case, o engine.Options, r *report.Call) error {
		mu.Lock()
		defer mu.Unlock()
		clients = append(clients, o.Client)
		r.Sides[0].Frames, r.Sides[1].Frames = 30, 30
		return nil
	}}
	r := do(t.Context(), t, lab(t, f), "run", "--browser", "--json", "DIR/r.json")
	r.want(t, exitOK, "8 as expected", "")
	if len(clients) != 8 || clients[0] != engine.Chromium || f.Name() != engine.Kernel {
		t.Errorf("%v on %s", clients, f.Name())
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "r.json"))
	if err != nil || !bytes.Contains(text, []byte(`natlab run browsers --case 'tls-only × tls-only' --browser --seed 1`)) {
		t.Errorf("%v: how to run it alone is not told", err)
	}
}

// TestDataPath is what all relays of all calls are told, and the report and its commands
// tell.
func TestDataPath(t *testing.T) {
	var mu sync.Mutex
	paths := map[string]int{}
	f := &enginetest.Fake{Change: func(_ context.Context, c scenario.Case, _ engine.Options, _ *report.Call) error {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range c.Relays {
			paths[r.DataPath+" "+r.Region]++
		}
		return nil
	}}
	r := do(t.Context(), t, lab(t, f), "run", "smoke", "relay-killed", "--engine", "kernel", "--data-path", "ebpf", "--json", "DIR/r.json")
	r.want(t, exitOK, "6 as expected", "")
	if len(paths) != 1 || paths["ebpf lab"] != 7 {
		t.Errorf("relays are told %v", paths)
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "r.json"))
	if err != nil || !bytes.Contains(text, []byte(`"data_path": "ebpf"`)) ||
		!bytes.Contains(text, []byte(`natlab run relay-killed --engine kernel --data-path ebpf --seed 1`)) {
		t.Errorf("%v: how to run it alone is not told", err)
	}
}

// TestInterrupted ends a run in the middle: what there is is told.
func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	f := &enginetest.Fake{}
	f.Change = func(ctx context.Context, _ scenario.Case, _ engine.Options, _ *report.Call) error {
		if f.Runs() < 4 {
			return nil
		}
		stop()
		<-ctx.Done()
		return ctx.Err()
	}
	r := do(ctx, t, lab(t, f), "run", "matrix", "--jobs", "1", "--json", "DIR/r.json", "--write-baseline", "DIR/b.json")
	r.want(t, exitInterrupted, "interrupted: 3 of 121 calls were placed", "b.json is not written")
	if _, err := os.Stat(filepath.Join(r.dir, "b.json")); err == nil {
		t.Error("a baseline of a part of the cases")
	}
	var all report.Report
	text, err := os.ReadFile(filepath.Join(r.dir, "r.json"))
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil || !all.Interrupted || len(all.Calls) != 3 || all.Planned != 121 || f.Closed() != 1 {
		t.Errorf("%v: %d calls of %d, closed %d times", err, len(all.Calls), all.Planned, f.Closed())
	}
}

// TestSeedsAndOrder: each case is placed with one seed after the other, and however many
// at once, the report is in the order of the cases.
func TestSeedsAndOrder(t *testing.T) {
	f := &enginetest.Fake{Change: func(_ context.Context, _ scenario.Case, o engine.Options, r *report.Call) error {
		if o.Seed == 43 {
			r.Path = "none"
		}
		return nil
	}}
	r := do(t.Context(), t, lab(t, f), "run", "smoke", "--repeat", "3", "--seed", "42", "--jobs", "8", "--json", "DIR/r.json")
	r.want(t, exitFailed, "2 of 3 calls as expected; not so with seed 43", "")
	var all report.Report
	text, err := os.ReadFile(filepath.Join(r.dir, "r.json"))
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil || len(all.Calls) != 15 {
		t.Fatalf("%v: %d calls", err, len(all.Calls))
	}
	for i, c := range all.Calls {
		if c.Seed != 42+uint64(i%3) || i%3 > 0 && c.Case != all.Calls[i-1].Case {
			t.Errorf("call %d is %s with seed %d", i, c.Case, c.Seed)
		}
	}
}

func TestScenariosOfOnesOwn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "hotel.yaml")
	if err := os.WriteFile(file, []byte("about: a hotel\nacess: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	do(t.Context(), t, lab(t, &enginetest.Fake{}), "run", file).want(t, exitUsage, "", "hotel.yaml:2: acess: there is no such key")
	text := "about: a hotel\naccess: {hotel: {routers: [{nat: {}, firewall: {block_udp: true}}]}}\ncall: {caller: {access: hotel}, callee: {access: open}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	worse := &enginetest.Fake{Change: func(_ context.Context, _ scenario.Case, _ engine.Options, r *report.Call) error {
		r.Path = "none"
		return nil
	}}
	do(t.Context(), t, lab(t, worse), "run", file).want(t, exitFailed, "alone: natlab run "+file+" --seed 1", "")
	do(t.Context(), t, lab(t, nil), "run", "--scenarios", dir+"/none").want(t, exitUsage, "", "no such file or directory")
}

func TestScenariosAreFoundAbove(t *testing.T) {
	p := lab(t, &enginetest.Fake{})
	p.environ = nil
	do(t.Context(), t, p, "run", "smoke").want(t, exitOK, "5 as expected", "")
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{"a-b": "a-b", "a × b": "'a × b'", "it's": `'it'\''s'`, "": "''"} {
		if got := quote(word); got != want {
			t.Errorf("%q is %s, want %s", word, got, want)
		}
	}
}
