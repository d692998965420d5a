package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/cmd/natlab/internal/verdict"
)

const (
	// callGrace is how long a call may take beside the time that it is to last: to make
	// networks, start servers, connect, and end.
	callGrace = 5 * time.Minute
	// maxBroken is after how many calls in a row in which the lab did not work it gives up.
	maxBroken = 5
)

var errLabBroken = fmt.Errorf("the lab did not work %d times in a row", maxBroken)

// placer places calls on an engine, some at a time.
type placer struct {
	engine engine.Engine
	client string
	keep   string // a directory; "" keeps nothing
	log    *slog.Logger
	rerun  func(scenario.Case, uint64) string
	now    func() time.Time
}

// job is one call to place.
type job struct {
	scenario.Case
	seed uint64
}

// place places calls, with as many workers, and returns those that were seen through or
// skipped, in their order. The error is why the others were not placed. started and done are
// called one at a time.
func (p *placer) place(ctx context.Context, jobs []job, workers int, started func(job), done func(report.Call)) ([]report.Call, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	next := make(chan int)
	calls := make([]*report.Call, len(jobs))
	var mu sync.Mutex // of what follows, and of calls to started and done
	broken := 0
	var wg sync.WaitGroup
	for range min(workers, len(jobs)) {
		wg.Go(func() {
			for i := range next {
				mu.Lock()
				started(jobs[i])
				mu.Unlock()
				call := p.one(ctx, jobs[i])
				if call == nil {
					continue // interrupted
				}
				mu.Lock()
				calls[i] = call
				if broken++; call.Outcome() != report.Broken {
					broken = 0
				}
				if broken == maxBroken {
					giveUp(errLabBroken)
				}
				done(*call)
				mu.Unlock()
			}
		})
	}
	feed(ctx, next, len(jobs))
	wg.Wait()
	var placed []report.Call
	for _, c := range calls {
		if c != nil {
			placed = append(placed, *c)
		}
	}
	return placed, context.Cause(ctx)
}

func feed(ctx context.Context, next chan<- int, n int) {
	defer close(next)
	for i := range n {
		if ctx.Err() != nil {
			return
		}
		select {
		case next <- i:
		case <-ctx.Done():
			return
		}
	}
}

// one places a call and judges it; nil if the context ended it.
func (p *placer) one(ctx context.Context, j job) *report.Call {
	began := p.now()
	o := engine.Options{Seed: j.seed, Client: p.client, Log: p.log}
	call, err := report.Call{}, error(nil)
	if o.Keep, err = p.keepIn(j); err == nil {
		cctx, cancel := context.WithTimeoutCause(ctx, j.lasts()+callGrace, fmt.Errorf("it took longer than %v", j.lasts()+callGrace))
		call, err = p.engine.Run(cctx, j.Case, o)
		if err != nil && cctx.Err() != nil {
			err = context.Cause(cctx)
		}
		cancel()
	}
	if err != nil && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		call.Broken = err.Error()
	}
	call.Scenario, call.Case, call.Caller, call.Callee = j.Scenario, j.Name, j.CallerAccess, j.CalleeAccess
	call.Engine, call.Client, call.Seed, call.Rerun = p.engine.Name(), p.client, j.seed, p.rerun(j.Case, j.seed)
	if call.Took == 0 {
		call.Took = p.now().Sub(began)
	}
	verdict.Judge(j.Case, &call)
	return &call
}

// lasts is how long the call of a case is, in its own time.
func (j job) lasts() time.Duration {
	d := j.Expect.ConnectWithin + j.Talk
	for _, e := range j.Events {
		d = max(d, j.Expect.ConnectWithin+j.Talk+e.Ends())
	}
	return d
}

// keepIn makes the directory for what is kept of a call.
func (p *placer) keepIn(j job) (string, error) {
	if p.keep == "" {
		return "", nil
	}
	name := j.Scenario
	if j.Name != "" {
		name += "-" + strings.ReplaceAll(j.Name, " × ", "-x-")
	}
	dir := filepath.Join(p.keep, fmt.Sprintf("%s-seed%d", name, j.seed))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("keep: %w", err)
	}
	return dir, nil
}

// interrupted is whether a run's error is that somebody ended it.
func interrupted(err error) bool { return errors.Is(err, context.Canceled) }
