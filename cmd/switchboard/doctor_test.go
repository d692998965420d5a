package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchboard/relay"
	"switchboard/relay/doctor"
)

// ran is what came of a command.
type ran struct {
	code        int
	out, errors string
}

func runProgram(t *testing.T, stdin string, environ []string, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	p := program{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, environ: environ}
	code := p.run(t.Context(), args)
	return ran{code, out.String(), errs.String()}
}

// environOf are the settings of a process with a relay, as variables.
func environOf(n *node, p *process) []string {
	return []string{
		"SWITCHBOARD_DEVELOPMENT=true", "SWITCHBOARD_SECRET_FILE=" + n.config.SecretPath(), "SWITCHBOARD_OPS_LISTEN=" + p.Ops,
		"SWITCHBOARD_RELAY_LISTEN=" + p.Relay["udp"],
	}
}

// TestDoctor looks at a relay and the machine that it is on, and at it from elsewhere.
func TestDoctor(t *testing.T) {
	n := testNode(t, "")
	p := start(t, n)
	got := runProgram(t, "", environOf(n, p), "doctor", "-json")
	var told struct {
		Relay   string
		Results []doctor.Result
		Summary doctor.Summary
	}
	if err := json.Unmarshal([]byte(got.out), &told); err != nil {
		t.Fatalf("%v: %s%s", err, got.out, got.errors)
	}
	if got.code != exitOK || told.Relay != "127.0.0.1" || told.Summary.Failed != 0 || told.Summary.OK < 20 {
		t.Errorf("code %d\n%s%s", got.code, got.out, got.errors)
	}
	for _, want := range []string{"relays both ways by channels over udp", "relay ports can be reached", ", of the relay", "looked at from the relay's own machine"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("nothing says %q", want)
		}
	}

	other := filepath.Join(t.TempDir(), "other")
	if err := writeSecret(other, newSecret()); err != nil {
		t.Fatal(err)
	}
	got = runProgram(t, "", nil, "doctor", "-development", "-relay", p.Relay["udp"], "-secret-file", other)
	if got.code != exitFailed || !strings.Contains(got.out, "FAILED   allocate over udp, IPv4  (answered 401)") || !strings.Contains(got.out, "its secret is another") {
		t.Errorf("another secret: code %d\n%s", got.code, got.out)
	}
	if strings.Contains(got.out, "rmem_max") {
		t.Error("it looks at the machine, though the relay may be on another")
	}

	secrets, err := openSecrets(n.config)
	if err != nil {
		t.Fatal(err)
	}
	m, err := relay.NewMinter(secrets.relay, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	username, password, _ := m.Mint("call", "ann", time.Now(), time.Now())
	url := "turn:" + p.Relay["udp"] + "?transport=udp"
	got = runProgram(t, password+"\n", nil, "doctor", "-development", "-relay", url, "-username", username, "-password", "-")
	if got.code != exitOK || !strings.Contains(got.out, " 0 failed\n") || strings.Contains(got.out, "over tcp") {
		t.Errorf("with credentials: code %d\n%s%s", got.code, got.out, got.errors)
	}
	if strings.Contains(got.out, password) {
		t.Error("the password is printed")
	}
}

func TestDoctorIsAskedWrongly(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "which relay?"},
		{[]string{"-relay", "127.0.0.1"}, "credentials: give -secret-file"},
		{[]string{"-relay", "127.0.0.1:0", "-username", "a"}, `-relay: "0" is not a port`},
		{[]string{"-relay", "127.0.0.1", "-secret-file", "nowhere"}, "nowhere: no such file; make it with"},
		{[]string{"-relay", "127.0.0.1", "-username", "a", "-ca", "nowhere"}, "-ca: open nowhere"},
		{[]string{"-relay", "127.0.0.1", "-username", "a", "-tls-port", "70000"}, "-tls-port: 70000 is not a port"},
		{[]string{"-relay", "127.0.0.1", "-username", "a", "-timeout", "0s"}, "-timeout"},
		{[]string{"-relay", "127.0.0.1", "-username", "a", "-password", "-"}, "-password: nothing on standard input"},
		{[]string{"-config", filepath.Join(configs, "region-eu.yaml")}, "roles: the process of these settings is no relay"},
	} {
		if got := runProgram(t, "", nil, append([]string{"doctor"}, test.args...)...); got.code != exitUsage || !strings.Contains(got.errors, test.want) {
			t.Errorf("%q: code %d, %s\nwant %s", test.args, got.code, got.errors, test.want)
		}
	}
}

// TestHealthIsAskedFor asks a process as what watches a container does.
func TestHealthIsAskedFor(t *testing.T) {
	n := testNode(t, "")
	p := start(t, n)
	environ := environOf(n, p)
	if got := runProgram(t, "", environ, "health"); got.code != exitOK || !strings.Contains(got.out, "relay: ok\n") {
		t.Errorf("ready: %+v", got)
	}
	n.draining.Store(true)
	if got := runProgram(t, "", environ, "health"); got.code != exitFailed || !strings.Contains(got.out, "process: draining\n") || !strings.Contains(got.errors, "503") {
		t.Errorf("draining: %+v", got)
	}
	if got := runProgram(t, "", environ, "health", "-alive"); got.code != exitOK || got.out != "alive\n" {
		t.Errorf("alive: %+v", got)
	}
	n.draining.Store(false)
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if got := runProgram(t, "", environ, "health", "-alive"); got.code != exitFailed {
		t.Errorf("gone: %+v", got)
	}
}
