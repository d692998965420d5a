package processes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/relay/natlab"
)

// DefaultDeadline bounds a call where [Options.Deadline] does not. The longest of a
// product's own: a call that cannot connect is given up after two attempts of 20 s.
const DefaultDeadline = 90 * time.Second

// Options say how an [Engine] places calls. The zero value will do.
type Options struct {
	// Bin is a folder with the programs switchboard, softphone and nats-server. Where it is
	// empty they are built from the repository that the working directory is in, or else
	// taken from beside this program, or from PATH.
	Bin string
	// Keep is a folder for what is left of each call: the logs of all its processes, and
	// what was captured at both phones and the relays. Empty keeps nothing but, of calls
	// that fail, the last lines of each process.
	Keep string
	// Deadline bounds each call beyond its events and its talk: the start of its servers, its
	// set-up, its end; 0 is [DefaultDeadline].
	Deadline time.Duration
	// Browser is the program, and its first arguments, that is Chromium on both sides in place
	// of softphone: one that calls [browserphone.Command].
	Browser []string
}

// Engine places calls. Its methods may be called concurrently, but Close.
type Engine struct {
	// Static after New.
	options   Options
	dir       string // of its own, for all that processes read and write
	programs  programs
	authority *authority
	keys      *keyring
	client    client
	build     func(context.Context, natlab.Topology) (lab, error)
}

// New prepares an engine: it finds or builds the programs, which may take a minute, and
// makes the secrets of the lab. Close removes what it has made.
func New(ctx context.Context, o Options) (*Engine, error) {
	if o.Deadline == 0 {
		o.Deadline = DefaultDeadline
	}
	dir, err := os.MkdirTemp("", "natlab-")
	if err != nil {
		return nil, err
	}
	e := &Engine{options: o, dir: dir, build: buildLab}
	if err := e.prepare(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *Engine) prepare(ctx context.Context) (err error) {
	if e.programs, err = findPrograms(ctx, e.options.Bin, e.dir, switchboard, softphone, natsServer); err != nil {
		return err
	}
	e.client = softphones{e.programs}
	if len(e.options.Browser) > 0 {
		e.client = browsers{e.options.Browser}
	}
	if e.authority, err = newAuthority(e.dir); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	e.keys, err = newKeyring(ctx, e.programs[switchboard], e.dir)
	return err
}

// Close removes the engine's files. No call may be in progress.
func (e *Engine) Close() error { return os.RemoveAll(e.dir) }

// Place places the call of a case and tells how it went, judged. What the product did
// wrong is among the call's failures; an error is the lab's: networks that could not be
// made, a NAT that is not what it is taken for, servers that did not start, ctx's end.
func (e *Engine) Place(ctx context.Context, c scenario.Case) (report.Call, error) {
	began := time.Now()
	within := e.options.Deadline + lasts(c)
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("the call was not over within %v", within))
	defer cancel()
	p, err := newPlacing(ctx, e, c)
	if err != nil {
		return report.Call{}, err
	}
	err = p.place(ctx)
	err = errors.Join(err, p.close())
	p.call.Took = time.Since(began)
	return p.call, err
}

// lasts is how long a case lasts from the first media to the caller's hanging up.
func lasts(c scenario.Case) time.Duration {
	var events time.Duration
	for _, e := range c.Events {
		over := e.At
		if e.Cut != nil {
			over += e.Cut.For
		}
		events = max(events, over)
	}
	return events + c.Talk
}
