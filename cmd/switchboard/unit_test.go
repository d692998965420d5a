package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// unitFile is the unit of a relay.
const unitFile = "systemd/switchboard-relay.service"

// systemdAnalyze returns the path of what judges units. Where it is missing the test is
// skipped, but not in CI.
func systemdAnalyze(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal("systemd-analyze is missing; Debian has it in systemd")
	default:
		t.Skip("systemd-analyze is missing, so the unit is not verified; Debian has it in systemd")
	}
	return path
}

// dropIn gives the unit what the kernel's data path takes.
const dropIn = unitFile + ".d/ebpf.conf"

// TestUnit has systemd verify the unit and judge its sandbox, without and with what the
// kernel's data path takes. It is not run under systemd here.
func TestUnit(t *testing.T) {
	analyze := systemdAnalyze(t)
	for _, test := range []struct {
		name      string
		dropIn    bool
		threshold int // ten times the exposure; it has 3 less
	}{{"as it is", false, 20}, {"with the kernel's data path", true, 23}} {
		t.Run(test.name, func(t *testing.T) { testUnit(t, analyze, test.dropIn, test.threshold) })
	}
}

func testUnit(t *testing.T, analyze string, withDropIn bool, threshold int) {
	t.Helper()
	text := readUnit(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), filepath.Base(unitFile))
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(text, "/usr/local/bin/switchboard", program)), 0o600); err != nil {
		t.Fatal(err)
	}
	if withDropIn {
		more, err := os.ReadFile(filepath.Join(configs, dropIn))
		if err == nil {
			err = os.Mkdir(unit+".d", 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(unit+".d", filepath.Base(dropIn)), more, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "--man=no", "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold="+strconv.Itoa(threshold), unit).CombinedOutput()
	if err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
	if lets := strings.Contains(string(out), "✗ CapabilityBoundingSet=~CAP_BPF"); lets != withDropIn {
		t.Errorf("whether it may load programs: %v, want %v\n%s", lets, withDropIn, out)
	}
}

// TestUnitFits holds the unit against the settings of the sample that it runs.
func TestUnitFits(t *testing.T) {
	text := readUnit(t)
	c, _, err := Load(filepath.Join(configs, "relay-only.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	minutes := number(t, text, `(?m)^TimeoutStopSec=(\d+)min$`)
	if stop := time.Duration(minutes) * time.Minute; stop < c.DrainDeadline+time.Minute {
		t.Errorf("killed after %v, before it has drained for %v", stop, c.DrainDeadline)
	}
	if files := number(t, text, `(?m)^LimitNOFILE=(\d+)$`); files < c.Relay.Quotas.Allocations+c.Relay.Limits.Connections {
		t.Errorf("%d files are fewer than allocations and connections", files)
	}
	for variable, file := range map[string]string{
		"SWITCHBOARD_RELAY_SECRET_FILE": c.RelaySecretFile, "SWITCHBOARD_NATS_NKEY_FILE": c.NATS.NKeyFile,
	} {
		name := filepath.Base(file)
		for _, line := range []string{"LoadCredential=" + name + ":" + file, "Environment=" + variable + "=%d/" + name} {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("the unit lacks %s", line)
			}
		}
		if _, warnings, _ := Load("", []string{variable + "=x"}); len(warnings) > 0 {
			t.Errorf("%s sets nothing", variable)
		}
	}
}

func readUnit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(configs, unitFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func number(t *testing.T, text, pattern string) int {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s", pattern)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestThreeLinesAreFilledIn counts what the sample of a relay asks for, and that it is
// complete with them.
func TestThreeLinesAreFilledIn(t *testing.T) {
	file := filepath.Join(configs, "relay-only.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for line := range strings.Lines(string(text)) {
		key, rest, ok := strings.Cut(line, ":")
		if ok && strings.Contains(rest, "# <- ") {
			keys = append(keys, strings.TrimSpace(key))
		}
	}
	if got := strings.Join(keys, " "); got != "node region url" {
		t.Errorf("to be filled in: %s", got)
	}
	c, _, err := Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.implied().Complete(); err != nil {
		t.Error(err)
	}
}
