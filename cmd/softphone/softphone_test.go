package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"softphone": func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// TestTrial is the main job, end to end: the real server and two phones, all
// of them processes. Calls go directly and through the relay, the tone that one
// side plays is in the recording of the other, and a text outlives the server.
func TestTrial(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, "switchboard/cmd/switchboard", "switchboard/cmd/softphone").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "softphone"), "-json", "trial", "-config", "../../configs/dev.yaml")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("trial: %v\n%s", err, out)
	}
	steps := map[string]map[string]any{}
	for line := range strings.Lines(string(out)) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if m["event"] == "step" {
			steps[m["what"].(string)] = m
		}
	}
	for _, what := range []string{
		"direct call", "call set up while it rings", "relay-only call, UDP to the relay", "relay-only call, TCP to the relay",
		"call that nobody answers", "both call at once", "text to a phone that is away", "server killed and started again", "text delivered late",
	} {
		if s := steps[what]; s == nil || s["ok"] != true {
			t.Errorf("%s: %v", what, s)
		}
	}
}

func TestRoundTripsFlag(t *testing.T) {
	var r roundTrips
	if err := r.Set("us=95,eu=12"); err != nil || r.String() != "eu=12,us=95" {
		t.Errorf("%v, %v", r, err)
	}
	for _, bad := range []string{"", "eu", "eu=", "eu=fast", "=5", "eu=-1", "eu=1,"} {
		if err := r.Set(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
