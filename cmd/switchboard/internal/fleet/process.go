package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Process is one of the installation's.
type Process struct {
	Name  string
	args  []string
	ready func() bool
	log   *lines

	mu    sync.Mutex
	cmd   *exec.Cmd // nil while it does not run
	ended chan struct{}
}

// Start starts the process and returns when it is ready.
func (p *Process) Start(ctx context.Context) error {
	if err := p.launch(); err != nil {
		return err
	}
	return p.await(ctx)
}

func (p *Process) launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.Name)
	}
	cmd := exec.Command(p.args[0], p.args[1:]...)
	out := p.log.of(p.Name)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = sysProcAttr()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	ended := make(chan struct{})
	p.cmd, p.ended = cmd, ended
	go func() { // ends with the process, which Kill and Close see to
		_ = cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cmd = nil
		close(ended)
	}()
	return nil
}

func (p *Process) await(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !p.ready() {
		select {
		case <-tick.C:
		case <-p.done():
			return fmt.Errorf("%s ended before it was ready", p.Name)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", p.Name, ctx.Err())
		}
	}
	return nil
}

// Ready reports whether the process runs and does its work.
func (p *Process) Ready() bool { return p.Running() && p.ready() }

// done is closed when the process has ended.
func (p *Process) done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return p.ended
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done():
		return false
	default:
		return true
	}
}

// Kill ends the process at once (SIGKILL) and waits for that. One that does not
// run is no error.
func (p *Process) Kill() error {
	err := p.signal(syscall.SIGKILL)
	return errors.Join(err, p.wait())
}

// Pause stops the process without ending it (SIGSTOP), Resume lets it go on.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

// Stop asks the process to end (SIGTERM) and waits for that.
func (p *Process) Stop() error { return errors.Join(p.terminate(), p.wait()) }

func (p *Process) terminate() error {
	return errors.Join(p.signal(syscall.SIGCONT), p.signal(syscall.SIGTERM))
}

func (p *Process) signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// endWithin bounds how long a process may take to end that was asked to.
const endWithin = 20 * time.Second

func (p *Process) wait() error {
	t := time.NewTimer(endWithin)
	defer t.Stop()
	ended := p.done()
	select {
	case <-ended:
		return nil
	case <-t.C:
	}
	err := fmt.Errorf("%s did not end in %v and was killed", p.Name, endWithin)
	err = errors.Join(err, p.signal(syscall.SIGKILL))
	<-ended
	return err
}

func writeSecret(ctx context.Context, program, file string) error {
	if out, err := exec.CommandContext(ctx, program, "gen-secret", "-out", file).CombinedOutput(); err != nil {
		return fmt.Errorf("gen-secret: %w: %s", err, out)
	}
	return nil
}

var probe = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func answersOK(url string) bool {
	resp, err := probe.Get(url)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// lines joins what the processes say, line by line.
type lines struct {
	mu sync.Mutex
	to io.Writer
}

func (l *lines) of(name string) io.Writer { return &speaker{lines: l, name: name} }

// speaker is one process. Only the goroutine that copies its output writes.
type speaker struct {
	lines *lines
	name  string
	rest  []byte
}

// maxLine bounds what is kept of a line that does not end.
const maxLine = 64 << 10

func (s *speaker) Write(b []byte) (int, error) {
	n := len(b)
	for {
		line, after, whole := bytes.Cut(b, []byte("\n"))
		s.rest = append(s.rest, line...)
		if !whole && len(s.rest) < maxLine {
			return n, nil
		}
		s.lines.mu.Lock()
		fmt.Fprintf(s.lines.to, "%-6s %s\n", s.name, s.rest)
		s.lines.mu.Unlock()
		s.rest, b = s.rest[:0], after
		if !whole {
			return n, nil
		}
	}
}
