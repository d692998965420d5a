package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"switchboard/cmd/internal/ledger"
	"switchboard/cmd/softphone/internal/load"
)

// TestLoad has the real server, a process, carry a load with connections that
// break, devices that are away and devices that do not read.
func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "switchboard")
	if out, err := exec.Command("go", "build", "-o", program, "switchboard/cmd/switchboard").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	server := &trial{dir: dir, config: "../../configs/load.yaml", program: program}
	stop, err := server.serve(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, server.logs.tail())
	}
	defer stop()
	var out, errs bytes.Buffer
	args := []string{"-json", "-server", server.url, "load", "-codes", server.codes, "-tokens", filepath.Join(dir, "tokens"), "-accounts", "6", "-devices", "2",
		"-rate", "50", "-duration", "3s", "-reconnect", "0.1", "-backlog", "300", "-stalled", "2", "-every", "1s"}
	code := run(t.Context(), args, strings.NewReader(""), &out, &errs)
	events := map[string]map[string]any{}
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		events[m["event"].(string)] = m
	}
	v := events["verdict"]
	if code != exitOK || v["ok"] != true || events["load"] == nil {
		t.Fatalf("exit code %d: %s\n%s%s", code, errs.String(), out.String(), server.logs.tail())
	}
	if v["sent"] != 3*300.+150 || v["stored"] != v["sent"] || v["shown"] != 3*(3*300.+150) || v["cut"] == 0. {
		t.Errorf("verdict %v", v)
	}
}

// TestLoadVerdict says what is broken, and by exit code.
func TestLoadVerdict(t *testing.T) {
	l := ledger.New()
	a, b := ledger.Device{Account: "+12025550100", Name: "0"}, ledger.Device{Account: "+12025550101", Name: "0"}
	l.Add(a)
	l.Add(b)
	l.Begin(ledger.Text{ID: "x", From: a, To: b.Account})
	l.Stored(a.Account, "x")
	var out, errs bytes.Buffer
	e := &env{out: &output{w: &out}}
	err := printVerdict(e.out, &load.Verdict{Texts: l.Check(), Errors: map[string]int{"mailbox_full": 7}})
	if code := report(err, e, &out, &errs); code != exitBroken {
		t.Errorf("exit code %d, want %d", code, exitBroken)
	}
	for _, want := range []string{"not lost        1", "mailbox_full  7", "text x: lost"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "2025550") {
		t.Error("a number is in the verdict")
	}
	l.Shown(b, ledger.Item{Seq: 1, ID: "x", From: a.Account, To: b.Account})
	if err := printVerdict(e.out, &load.Verdict{Texts: l.Check()}); err != nil {
		t.Errorf("all is well: %v", err)
	}
	if err := printVerdict(e.out, &load.Verdict{Texts: ledger.New().Check()}); err == nil {
		t.Error("nothing was proved, and all is well")
	}
}
