package processes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

// DefaultDeadline bounds a call where [Options.Deadline] does not. The longest of a
// product's own: a call that cannot connect is given up after two attempts of 20 s.
const DefaultDeadline = 90 * time.Second

// Options say how an [Engine] works. The zero value will do.
type Options struct {
	// Bin is a folder with the programs switchboard, softphone and nats-server. Where it is
	// empty they are built from the repository that the working directory is in, or else
	// taken from beside this program, or from PATH.
	Bin string
	// Deadline bounds each call beyond its events and its talk: the start of its servers, its
	// set-up, its end; 0 is [DefaultDeadline].
	Deadline time.Duration
	// Browser is the program, and its first arguments, that is Chromium at one side: one that
	// calls [browserphone.Command]. Empty is this program with the argument browser-phone.
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
	clients   map[string]client // by their names
	verified  verified
}

// New prepares an engine: it finds or builds the programs, which may take a minute, and
// makes the secrets of the lab. Close removes what it has made.
func New(ctx context.Context, o Options) (*Engine, error) {
	if o.Deadline == 0 {
		o.Deadline = DefaultDeadline
	}
	if len(o.Browser) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		o.Browser = []string{self, "browser-phone"}
	}
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, err
	}
	e := &Engine{options: o, dir: dir, clients: map[string]client{}}
	if err := e.prepare(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *Engine) prepare(ctx context.Context) (err error) {
	if e.programs, err = findPrograms(ctx, e.options.Bin, e.dir, switchboard, softphone, natsServer); err != nil {
		return err
	}
	for _, c := range []client{softphones{e.programs}, browsers{e.options.Browser}} {
		e.clients[c.name()] = c
	}
	if e.authority, err = newAuthority(e.dir); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	e.keys, err = newKeyring(ctx, e.programs[switchboard], e.dir)
	return err
}

// dirPrefix begins the names of engines' folders; the process's number follows.
const dirPrefix = "natlab-"

// Clean removes the folders of engines whose processes have died, and returns them.
func Clean() (removed []string, err error) {
	all, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	errs := []error{err}
	for _, dir := range all {
		number, _, ok := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		pid, err := strconv.Atoi(number)
		if !ok || err != nil || syscall.Kill(pid, 0) == nil {
			continue // another's, or one that may be in use
		}
		if err := os.RemoveAll(dir); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, dir)
	}
	return removed, errors.Join(errs...)
}

// Close removes the engine's files. No call may be in progress.
func (e *Engine) Close() error { return os.RemoveAll(e.dir) }

// Name implements [engine.Engine].
func (e *Engine) Name() string { return engine.Kernel }

// Run implements [engine.Engine]. What the phones say went wrong is among the call's
// failures, with the last lines of all processes; so are these where the call is not what
// the case expects. An error is the lab's: networks that could not be made, a NAT that is not
// what it is taken for, servers that did not start, ctx's end.
func (e *Engine) Run(ctx context.Context, c scenario.Case, o engine.Options) (report.Call, error) {
	kind, ok := e.clients[o.Client]
	if !ok {
		return report.Call{}, fmt.Errorf("there is no client %q", o.Client)
	}
	p, err := newPlacing(ctx, e, c, o, kind)
	if err != nil {
		return report.Call{}, err
	}
	err = p.place(ctx, e.options.Deadline+lasts(c))
	return p.call, errors.Join(err, p.close())
}

// lasts is how long a case lasts from the first media to the caller's hanging up.
func lasts(c scenario.Case) time.Duration {
	var events time.Duration
	for _, e := range c.Events {
		events = max(events, e.Ends())
	}
	return events + c.Talk
}
