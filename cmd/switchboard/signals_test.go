package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"switchboard/signaling/client"
)

// child is a server in a process of its own, as only such a one can be killed.
type child struct {
	Addrs
	t   *testing.T
	cmd *exec.Cmd
	log *bufio.Scanner
}

// spawn starts the program with settings and waits until it is ready.
func spawn(t *testing.T, c Config) *child {
	t.Helper()
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	settings, addrs := filepath.Join(dir, "settings.yaml"), filepath.Join(dir, "addrs.json")
	if err := os.WriteFile(settings, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &child{t: t, cmd: exec.Command("switchboard", "-config", settings, "-addr-file", addrs)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	p.log = bufio.NewScanner(stderr)
	p.awaitLog("msg=ready")
	if text, err = os.ReadFile(addrs); err == nil {
		err = json.Unmarshal(text, &p.Addrs)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// awaitLog reads the log up to a line that has text.
func (p *child) awaitLog(text string) {
	p.t.Helper()
	for p.log.Scan() {
		if strings.Contains(p.log.Text(), text) {
			return
		}
	}
	p.t.Fatalf("the log ended without %q", text)
}

// signal sends s.
func (p *child) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exitCode waits for the end.
func (p *child) exitCode() int {
	for p.log.Scan() {
	}
	p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func TestSignalDrains(t *testing.T) {
	p := spawn(t, testNode(t, "").config)
	p.signal(syscall.SIGTERM)
	if code := p.exitCode(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	// With a session to see off, the drain takes a minute.
	p := spawn(t, testNode(t, "{drain_deadline: 2m, signaling: {drain_for: 1m}}").config)
	await[client.Connected](t, connect(t, p.Addrs, register(t, p.Addrs, alice)))
	p.signal(syscall.SIGTERM)
	p.awaitLog("msg=draining")
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.exitCode(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(begun); took > patience {
		t.Errorf("took %v", took)
	}
}

// TestKill ends a process in the worst way: what was acknowledged is kept, and
// the next one starts on what is left.
func TestKill(t *testing.T) {
	c := testNode(t, "").config
	p := spawn(t, c)
	tokenA, tokenB := register(t, p.Addrs, alice), register(t, p.Addrs, bob)
	a := connect(t, p.Addrs, tokenA)
	for i := range 10 {
		send(t, a, bob, fmt.Sprint("text ", i))
	}
	p.signal(syscall.SIGKILL)
	p.exitCode()

	p = spawn(t, c)
	b := connect(t, p.Addrs, tokenB)
	for i := range 10 {
		if got, want := awaitText(t, b).Body, fmt.Sprint("text ", i); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
