package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// Cmd is an [exec.Cmd] whose process runs in a host's or router's namespace, with a hosts
// file of its own. It gets SIGKILL when ctx ends, when the lab is closed, and when this process
// dies.
type Cmd struct {
	*exec.Cmd
	lab  *Lab
	name string
}

// Command returns one that is not started. As with exec.Cmd, whoever starts it has to wait
// for it. The fields of SysProcAttr but Pdeathsig and Setpgid may be set.
func (l *Lab) Command(ctx context.Context, host, name string, args ...string) *Cmd {
	c := &Cmd{Cmd: exec.CommandContext(ctx, name, args...), lab: l, name: host}
	// Those that the process has started end with it, unless they leave its group.
	c.Cancel = func() error {
		err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return nil
		}
		return err
	}
	c.WaitDelay = time.Second
	return c
}

// Start starts the process.
func (c *Cmd) Start() error {
	c.prepare()
	c.lab.mu.Lock()
	defer c.lab.mu.Unlock()
	if err := c.lab.begin(c); err != nil {
		return fmt.Errorf("start %s on %q: %w", c.Path, c.name, err)
	}
	return nil
}

// prepare has the process end with the thread that starts it, and lead a group.
func (c *Cmd) prepare() {
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Pdeathsig = syscall.SIGKILL
	c.SysProcAttr.Setpgid = true
}

// begin starts a process; mu is held.
func (l *Lab) begin(c *Cmd) error {
	if l.closed {
		return errClosed
	}
	s, err := l.space(c.name)
	if err != nil {
		return err
	}
	return s.Do(c.Cmd.Start)
}

// Run starts the process and waits for its end.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output is what the process writes to its standard output.
func (c *Cmd) Output() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput is Output with standard error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}
