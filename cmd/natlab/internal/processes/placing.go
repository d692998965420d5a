package processes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/cmd/natlab/internal/verdict"
	"switchboard/relay/natlab"
	"switchboard/relay/natlab/kernel"
)

// placing is one call while it is placed.
type placing struct {
	// Static after newPlacing.
	engine *Engine
	c      scenario.Case
	lab    *kernel.Lab
	client client
	log    *slog.Logger
	dir    string // of this call, within the engine's
	keep   string // where what is left of it goes, or ""

	// Owned by place.
	servers  *servers
	relaying *relaying
	phones   [2]*phone
	captures []func() error // that end one
	call     report.Call
	invited  time.Time // what moments are counted from
	// firstEvent is when the first of the case's events happened; zero without.
	firstEvent time.Time

	mu        sync.Mutex
	processes []*process // guarded by mu: all that were started
	moments   []moment   // guarded by mu
}

// moment is a report.Moment before it is known what it is counted from.
type moment struct {
	at        time.Time
	who, what string
}

func newPlacing(ctx context.Context, e *Engine, c scenario.Case, o engine.Options, kind client) (*placing, error) {
	p := &placing{engine: e, c: c, client: kind, log: o.Log.With("case", c.Scenario+" "+c.Name), keep: o.Keep}
	p.call = report.Call{
		Path: string(scenario.None), After: string(scenario.None), Sides: [2]report.Side{{Host: c.Caller}, {Host: c.Callee}},
	}
	var err error
	begun := time.Now()
	p.invited = begun // until somebody is
	if p.dir, err = os.MkdirTemp(e.dir, "call-"); err != nil {
		return nil, err
	}
	if p.lab, err = kernel.Build(ctx, withServers(c), kernel.Options{Seed: o.Seed}); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	p.log.Debug("networks are there", "took", time.Since(begun))
	return p, nil
}

// withServers is the topology of a case, with the host of the NATS server where there
// is one.
func withServers(c scenario.Case) natlab.Topology {
	t := c.Topology
	if needsNATS(c) {
		t.Hosts = maps.Clone(t.Hosts)
		t.Hosts[natsHost] = natlab.HostSpec{Networks: []string{natlab.Internet}}
	}
	return t
}

// run starts a program on a host, and has close end it.
func (p *placing) run(host, name, program string, args ...string) (*process, error) {
	// Not bound to a context: what ends a process must also wait for it.
	cmd := p.lab.Command(context.Background(), host, program, args...)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+p.engine.authority.file)
	v, err := start(name, cmd, p.keep)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.processes = append(p.processes, v)
	return v, nil
}

// note notes what happened just now.
func (p *placing) note(who, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moments = append(p.moments, moment{time.Now(), who, fmt.Sprintf(format, args...)})
}

// place does all, in its order, within a time; it ends with user, too. It leaves the
// processes to close. A call that is not over in time is a result, as one that fails is.
func (p *placing) place(user context.Context, within time.Duration) (err error) {
	ctx, cancel := context.WithTimeoutCause(user, within, fmt.Errorf("the call was not over within %v", within))
	defer cancel()
	if p.servers, err = newServers(ctx, p); err != nil {
		return err
	}
	p.relaying = newRelaying(p.lab, slices.Sorted(maps.Keys(p.c.Relays)))
	counting, stop := context.WithCancel(ctx)
	var counted sync.WaitGroup
	counted.Go(func() { p.relaying.run(counting) })
	defer counted.Wait()
	defer stop()
	p.phones = [2]*phone{newPhone(p, p.c.Caller, callerNumber), newPhone(p, p.c.Callee, calleeNumber)}
	if err := p.prepare(ctx); err != nil {
		return err
	}
	err = p.converse(ctx)
	switch {
	case user.Err() != nil:
		return context.Cause(user)
	case isLabError(err):
		return err
	case err != nil:
		what, _, _ := strings.Cut(err.Error(), "\n") // what follows is in the logs, too
		p.note("lab", "%s", what)
		p.tell(nil)
		p.tails()
		return nil
	}
	judged := p.call
	if verdict.Judge(p.c, &judged); len(judged.Failures) > 0 {
		p.tails()
	}
	return nil
}

// prepare starts the servers while the NATs are probed.
func (p *placing) prepare(ctx context.Context) error {
	begun := time.Now()
	var started, found error
	var both sync.WaitGroup
	both.Go(func() {
		started = p.servers.start(ctx)
		p.log.Debug("servers are ready", "took", time.Since(begun))
	})
	both.Go(func() { found = p.verify(ctx) })
	both.Wait()
	return cmp.Or(found, started)
}

// labError is an error that is not the product's.
type labError struct{ error }

func (e labError) Unwrap() error { return e.error }

func isLabError(err error) bool {
	_, is := errors.AsType[labError](err)
	return is
}

// converse has the phones call, does what happens in the call, and writes down how it
// went.
func (p *placing) converse(ctx context.Context) error {
	caller, callee := p.phones[0], p.phones[1]
	node, err := p.servers.at(p.c.Signaling[0])
	if err != nil {
		return labError{err}
	}
	if err := p.capture(); err != nil {
		return err
	}
	begun := time.Now()
	if err := p.registerBoth(ctx, node.codes); err != nil {
		return err
	}
	p.log.Debug("phones are registered", "took", time.Since(begun))
	if err := callee.listen(ctx); err != nil {
		return err
	}
	p.invited = time.Now()
	if err := caller.start(callee.number); err != nil {
		return err
	}
	up, err := p.awaitMedia(ctx)
	if err != nil {
		return err
	}
	p.log.Debug("both sides have media, or have given up", "media", up, "took", time.Since(p.invited))
	if up {
		p.relaying.begin(ctx)
		if err := p.events(ctx); err != nil {
			return err
		}
		if err := sleep(ctx, p.c.Talk); err != nil {
			return err
		}
		caller.process.signal(syscall.SIGINT) // hangs up
	}
	return p.fill(ctx)
}

// awaitMedia waits until both phones hear each other, or one of them gives up.
func (p *placing) awaitMedia(ctx context.Context) (up bool, err error) {
	up = true
	for _, phone := range p.phones {
		heard, err := phone.awaitMedia(ctx)
		if err != nil {
			return false, err
		}
		up = up && heard
	}
	return up, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tails adds the last lines of each process to the report.
func (p *placing) tails() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.processes {
		if tail := v.out.tail(); tail != "" {
			p.call.Logs = append(p.call.Logs, report.Log{Name: v.name, Tail: tail})
		}
	}
}

// close ends all processes, phones and then servers, and removes the networks and the
// files of the call.
func (p *placing) close() error {
	begun := time.Now()
	p.mu.Lock()
	all := p.processes
	p.mu.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		all[i].kill()
	}
	p.kept()
	err := errors.Join(p.lab.Close(), os.RemoveAll(p.dir))
	p.log.Debug("all is gone", "took", time.Since(begun))
	return err
}
