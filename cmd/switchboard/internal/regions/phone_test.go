package regions

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// phone is a softphone, a process, and what it has told.
type phone struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	ended chan struct{}

	mu     sync.Mutex
	events []map[string]any
	rest   []string // what is no event
}

// run starts a softphone as the device of a number.
func (h *house) run(t *testing.T, name, number string, args ...string) *phone {
	t.Helper()
	p := &phone{t: t, name: name, ended: make(chan struct{})}
	p.cmd = exec.Command(h.softphone, append([]string{"-json", "-profile", h.profile(t, number)}, args...)...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process, which the test sees to
		defer close(p.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			p.hear(lines.Bytes())
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s:\n%s", p.name, p)
		}
	})
	return p
}

func (p *phone) hear(line []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var e map[string]any
	if json.Unmarshal(line, &e) != nil {
		p.rest = append(p.rest, string(line))
		return
	}
	e["at"] = time.Now().Format("15:04:05.000")
	p.events = append(p.events, e)
}

// String is all that it has told, without phone numbers.
func (p *phone) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, e := range p.events {
		text, _ := json.Marshal(e)
		fmt.Fprintln(&b, string(text))
	}
	return b.String() + strings.Join(p.rest, "\n")
}

// last is the newest event of a kind, or nil.
func (p *phone) last(kind string) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range slices.Backward(p.events) {
		if e["event"] == kind {
			return e
		}
	}
	return nil
}

// await waits for something that the phone tells.
func (p *phone) await(what string, so func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: not in %v: %s", p.name, patience, what)
		}
	}
}

// relay is where its media goes now, as host:port, "" if it does not yet.
func (p *phone) relay() string {
	at, _ := p.last("media")["relay"].(string)
	return at
}

// profile writes the file by which a softphone is the device of a number.
func (h *house) profile(t *testing.T, number string) string {
	t.Helper()
	file := filepath.Join(h.dir, number[1:]+".json")
	if _, err := os.Stat(file); err == nil {
		return file
	}
	got, err := h.node.Register(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"server": h.node.URL, "number": number, "account": got.Account, "device": got.Device, "token": got.Token,
		"expires": time.Now().Add(time.Duration(got.ExpiresMS) * time.Millisecond),
	})
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}
