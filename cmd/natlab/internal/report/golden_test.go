package report_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/engine/enginetest"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/cmd/natlab/internal/verdict"
)

var update = flag.Bool("update", false, "write testdata anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s is not as it was; -update writes it anew:\n%s", name, diff)
	}
}

// sample is a report with some of everything, of scenarios of ours.
func sample(t *testing.T, repeat int, names ...string) *report.Report {
	t.Helper()
	list, err := scenario.Load("../../../../configs/natlab", names...)
	if err != nil {
		t.Fatal(err)
	}
	r := &report.Report{
		Version: report.Version, Program: "v1.2.3", Engine: engine.Virtual, Client: engine.Softphone, Seed: 1, Repeat: repeat,
		Began: time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC), Took: 83 * time.Second, About: map[string]string{},
	}
	for _, s := range list {
		r.About[s.Name] = s.About
		for _, c := range s.Cases() {
			for i := range repeat {
				r.Calls = append(r.Calls, callOf(t, c, uint64(i+1)))
			}
		}
	}
	r.Planned = len(r.Calls)
	r.Count()
	return r
}

func callOf(t *testing.T, c scenario.Case, seed uint64) report.Call {
	t.Helper()
	o := engine.Options{Seed: seed, Client: engine.Softphone}
	call, err := (&enginetest.Fake{Change: spoil}).Run(context.Background(), c, o)
	if err != nil {
		call.Broken = err.Error()
	}
	call.Scenario, call.Case, call.Caller, call.Callee, call.Seed = c.Scenario, c.Name, c.CallerAccess, c.CalleeAccess, seed
	call.Engine, call.Client = engine.Virtual, o.Client
	call.Rerun = fmt.Sprintf("natlab run %s --case '%s' --seed %d", c.Scenario, c.Name, seed)
	verdict.Judge(c, &call)
	return call
}

// spoil makes a few calls not be as they should.
func spoil(_ context.Context, c scenario.Case, o engine.Options, r *report.Call) error {
	switch c.Scenario + " " + c.Name {
	case "classic full-cone × symmetric":
		r.Path, r.After = "relay/tcp", "relay/tcp"
		for i := range r.Sides {
			r.Sides[i].Local, r.Sides[i].Remote, r.Sides[i].Relay = "relay", "relay", "tcp"
		}
		r.Kept = []string{"kept/alice.log", "kept/nat-a.pcap"}
		r.Logs = []report.Log{{Name: "alice softphone", Tail: strings.Repeat("an old line\n", 9) + "a new line\n"}}
	case "classic symmetric × symmetric":
		if o.Seed == 1 {
			r.Path, r.Sides = "none", [2]report.Side{{Host: "alice", Pairs: 9, Tried: 9, End: "ice_failed"}, {Host: "bob", Pairs: 9, Tried: 9, End: "ice_failed"}}
		}
	case "classic double-nat × double-nat":
		r.Skipped = "this machine has no /dev/net/tun"
	case "classic tls-only × double-nat":
		return errors.New("no space left on device")
	case "nat-reboot ":
		r.Gap, r.Sides[0].Gap, r.Sides[0].Restarts = 21*time.Second, 21*time.Second, 2
	case "loss ":
		r.Sides[1].Lost = 7
	}
	return nil
}

func TestText(t *testing.T) {
	for name, r := range map[string]*report.Report{
		"run.txt":    sample(t, 1, "classic", "nat-reboot", "wifi-to-mobile", "loss", "no-relay-symmetric", "vpn"),
		"repeat.txt": sample(t, 3, "classic", "vpn"),
		"smoke.txt":  sample(t, 1, "smoke"),
		"none.txt":   {},
	} {
		var b bytes.Buffer
		if err := r.WriteText(&b, report.Style{}); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

func TestColours(t *testing.T) {
	var b bytes.Buffer
	r := sample(t, 1, "classic")
	r.Interrupted, r.Planned = true, 60
	if err := r.WriteText(&b, report.Style{Color: true, Width: 120}); err != nil {
		t.Fatal(err)
	}
	golden(t, "colour.txt", b.Bytes())
}

func TestJUnit(t *testing.T) {
	r := sample(t, 1, "classic", "nat-reboot")
	r.Baseline = &report.Comparison{File: "old.json", Worse: []report.Change{{Name: "loss", What: "path relay/udp, was direct"}}}
	var b bytes.Buffer
	if err := r.WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "junit.xml", b.Bytes())
	for d := xml.NewDecoder(&b); ; {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := sample(t, 1, "nat-reboot").WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", b.Bytes())
}

func TestHTML(t *testing.T) {
	r := sample(t, 1, "nat-reboot")
	r.Calls[0].Failures = append(r.Calls[0].Failures, "<script>alert(1)</script>")
	r.Baseline = &report.Comparison{File: "old.json", Same: 1, Worse: []report.Change{{Name: "nat-reboot", What: "longest gap 21.0 s, was 9.10 s"}}}
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "page.html", b.Bytes())
	if bytes.Contains(b.Bytes(), []byte("alert(1)</script>")) {
		t.Error("what a call says becomes part of the page")
	}
}

// TestHTMLNeedsNothing holds the page of all kinds of calls to have no link but within
// itself, and each of these to lead somewhere.
func TestHTMLNeedsNothing(t *testing.T) {
	var b bytes.Buffer
	if err := sample(t, 3, "classic", "nat-reboot", "vpn", "no-relay-symmetric").WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, outside := range []string{"http://", "https://", "src=", "@import", "url(", "<link"} {
		if strings.Contains(text, outside) {
			t.Errorf("the page has %s", outside)
		}
	}
	links := 0
	for _, after := range strings.Split(text, `href="#`)[1:] {
		id, _, _ := strings.Cut(after, `"`)
		if links++; strings.Count(text, `<span id="`+id+`">`) != 1 {
			t.Errorf("a link leads to #%s, which is not there once", id)
		}
	}
	if links != 49 || strings.Contains(text, "ZgotmplZ") {
		t.Errorf("%d links", links)
	}
	// To look at: NATLAB_PAGE=/tmp/page.html.
	if path := os.Getenv("NATLAB_PAGE"); path != "" {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProgress is of a run on a terminal, and of one elsewhere.
func TestProgress(t *testing.T) {
	for name, terminal := range map[string]bool{"progress-terminal.txt": true, "progress.txt": false} {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var b bytes.Buffer
		p := report.NewProgress(&b, report.Style{Width: 60}, terminal, 4, func() time.Time { return now })
		calls := []report.Call{
			{Scenario: "a", Case: "x × y"},
			{Scenario: "a", Case: "y × y", Failures: []string{"the path is none, expected host"}},
			{Scenario: "b", Broken: "no disk"},
			{Scenario: "c", Case: "a-name-that-is-far-too-long × another-one-that-is-too-long"},
		}
		p.Started(calls[0].Name())
		for i, c := range calls {
			if i+1 < len(calls) {
				p.Started(calls[i+1].Name())
			}
			now = now.Add(6 * time.Second)
			p.Done(c)
			if terminal {
				b.WriteString("\n")
			}
		}
		p.Finish()
		golden(t, name, bytes.ReplaceAll(b.Bytes(), []byte("\r\x1b[K"), []byte("⌫")))
	}
}

// A run that was interrupted, or is worse twice in one case, does not read as a good one.
func TestJUnitOfBadRuns(t *testing.T) {
	r := &report.Report{Interrupted: true, Planned: 60, Baseline: &report.Comparison{File: "b.json", Worse: []report.Change{{Name: "home", What: "slower"}, {Name: "home", What: "a longer gap"}}}}
	var b bytes.Buffer
	if err := r.WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`errors="1"`, "0 of 60 calls were placed", `failures="1"`, `message="slower; a longer gap"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in %s", want, b.String())
		}
	}
}
