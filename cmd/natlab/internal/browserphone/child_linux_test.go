package browserphone

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"switchboard/cmd/natlab/internal/report"
)

// child is the program in a process of its own.
type child struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	dir  string // of its profile's folder
	done chan struct{}

	// Guarded by mu.
	mu       sync.Mutex
	moments  []Moment
	began    *report.Side
	now      *report.Side
	side     *report.Side
	paths    []Path
	failure  *Failure
	unknown  []string
	complain strings.Builder
}

// start starts one with the arguments.
func start(t *testing.T, name string, args ...string) *child {
	t.Helper()
	return here.start(t, name, args...)
}

func (p place) start(t *testing.T, name string, args ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, name: name, dir: t.TempDir(), done: make(chan struct{})}
	c.cmd = p.command(self, append([]string{"-dir", c.dir}, args...)...)
	c.cmd.Env = append(os.Environ(), asPhone+"=1")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	c.cmd.Stderr = complaint{c}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process, which the test sees to
		defer close(c.done)
		c.read(out)
		_ = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.done:
		case <-time.After(20 * time.Second):
			_ = c.cmd.Process.Kill()
			<-c.done
		}
		if t.Failed() {
			t.Log(c.said())
		}
	})
	return c
}

type complaint struct{ *child }

func (c complaint) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.complain.Write(b)
}

func (c *child) read(out io.Reader) {
	for s := bufio.NewScanner(out); s.Scan(); {
		var l Line
		d := json.NewDecoder(strings.NewReader(s.Text()))
		d.DisallowUnknownFields()
		err := d.Decode(&l)
		c.mu.Lock()
		switch {
		case err != nil:
			c.unknown = append(c.unknown, s.Text())
		case l.Moment != nil:
			c.moments = append(c.moments, *l.Moment)
		case l.Began != nil:
			c.began = l.Began
		case l.Now != nil:
			c.now = l.Now
		case l.Side != nil:
			c.side, c.paths = l.Side, l.Paths
		case l.Failure != nil:
			c.failure = l.Failure
		default:
			c.unknown = append(c.unknown, s.Text())
		}
		c.mu.Unlock()
	}
}

// said is what it has printed, for a test that failed.
func (c *child) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	b.WriteString(c.name + ":\n")
	for _, m := range c.moments {
		b.WriteString(time.Unix(0, m.At).Format("05.000 ") + m.What + "\n")
	}
	side, _ := json.MarshalIndent(c.side, "", "  ")
	b.Write(side)
	b.WriteString("\n" + strings.Join(c.unknown, "\n") + c.complain.String())
	return b.String()
}

// has reports whether there was a moment.
func (c *child) has(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.moments {
		if m.What == what {
			return true
		}
	}
	return false
}

// await waits for a moment, and fails the test when the process ends before.
func (c *child) await(what string) {
	c.t.Helper()
	until(c.t, c.name+": "+what, func() bool {
		if c.has(what) {
			return true
		}
		select {
		case <-c.done:
			if !c.has(what) {
				c.t.Fatalf("%s ended before: %s", c.name, what)
			}
			return true
		default:
			return false
		}
	})
}

// order writes a line.
func (c *child) order(o Order) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, string(o)+"\n"); err != nil {
		c.t.Fatalf("%s: %v", c.name, err)
	}
}

// ends waits for the end and checks the exit code, and that nothing is left.
func (c *child) ends(code int) {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatalf("%s does not end", c.name)
	}
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.t.Errorf("%s ended with %d, want %d", c.name, got, code)
	}
	if len(c.unknown) > 0 {
		c.t.Errorf("%s printed %q", c.name, c.unknown)
	}
	if left := using(c.dir); len(left) > 0 {
		c.t.Errorf("%s left processes %v", c.name, left)
	}
	if left, _ := os.ReadDir(c.dir); len(left) > 0 {
		c.t.Errorf("%s left %v", c.name, left)
	}
}
