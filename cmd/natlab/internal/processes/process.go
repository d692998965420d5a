package processes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"switchboard/relay/natlab/kernel"
)

// endWithin bounds how long a process may take to end that was asked to.
const endWithin = 5 * time.Second

// process is a program that runs in a namespace. Its methods may be called concurrently.
type process struct {
	name string // of the host, or of the program where there are several on it
	cmd  *kernel.Cmd
	out  *journal // what it writes, to both of its outputs
	log  *os.File // the same, where it is kept; or nil

	ended chan struct{} // closed when it has ended and all that it wrote is in out
	err   error         // why, after that
}

// start starts a command whose output has not been set. With a folder to keep it in,
// what it writes goes into a file there, too.
func start(name string, cmd *kernel.Cmd, keep string) (*process, error) {
	p := &process{name: name, cmd: cmd, out: newJournal(), ended: make(chan struct{})}
	var out io.Writer = p.out
	if keep != "" {
		var err error
		if p.log, err = os.OpenFile(filepath.Join(keep, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return nil, err
		}
		out = io.MultiWriter(p.log, p.out)
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = endWithin // for output that a grandchild holds open
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), p.closeLog())
	}
	go func() { // ends with the process, for which close waits
		p.err = cmd.Wait()
		p.out.end()
		p.err = errors.Join(p.err, p.closeLog())
		close(p.ended)
	}()
	return p, nil
}

func (p *process) closeLog() error {
	if p.log == nil {
		return nil
	}
	return p.log.Close()
}

// await waits for what the process writes.
func (p *process) await(ctx context.Context, what string, ok func(entry) bool) (entry, error) {
	e, err := p.out.await(ctx, ok)
	if errors.Is(err, errOver) {
		<-p.ended
		err = errors.Join(err, p.err)
	}
	if err != nil {
		return e, &processError{p.name, what, err, p.out.tail()}
	}
	return e, nil
}

// processError is what a process has not done, with the last that it wrote.
type processError struct {
	name, what string
	err        error
	tail       string
}

func (e *processError) Error() string {
	s := fmt.Sprintf("%s: %s: %v", e.name, e.what, e.err)
	if e.tail != "" {
		s += "\n" + e.tail
	}
	return s
}

func (e *processError) Unwrap() error { return e.err }

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// signal sends one; to a process that has ended, none.
func (p *process) signal(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // it has ended, if that fails
}

// kill ends the process as a power cut does, with those that it has started, and waits for
// that.
func (p *process) kill() {
	if p.running() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // they have ended, if that fails
	}
	<-p.ended
}
