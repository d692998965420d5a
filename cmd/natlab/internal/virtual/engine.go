package virtual

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"switchboard/cmd/natlab/internal/bubble"
	"switchboard/cmd/natlab/internal/judge"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

// Engine places calls in virtual time. It may be used by several goroutines: calls do not
// share a world.
type Engine struct {
	bubbles   *bubble.Runner
	authority *authority
}

// New returns an engine whose calls run in the bubbles of a runner.
func New(b *bubble.Runner) (*Engine, error) {
	a, err := newAuthority()
	if err != nil {
		return nil, err
	}
	return &Engine{b, a}, nil
}

// limit is how long a case may take, in virtual time, beside its events and its talk. A
// call that does not connect ends by itself before.
const limit = 5 * time.Minute

// Run places the call of a case and returns how it went. An error is one of the lab, not of
// the call. It does not heed what ends in real time.
func (e *Engine) Run(c scenario.Case, seed uint64, log *slog.Logger) (report.Call, error) {
	began := time.Now()
	var call report.Call
	var err error
	e.bubbles.Run(strings.ReplaceAll(c.Scenario+"/"+c.Name, " ", "_"), func(ctx context.Context) {
		call, err = e.run(ctx, c, seed, log)
	})
	call.Took = time.Since(began)
	return call, err
}

// run is in the bubble.
func (e *Engine) run(ctx context.Context, c scenario.Case, seed uint64, log *slog.Logger) (report.Call, error) {
	serving, stop := context.WithCancel(ctx)
	l, err := build(serving, c, seed, e.authority, log)
	if err != nil {
		stop()
		return report.Call{}, err
	}
	if traceHook != nil {
		traceHook(l)
	}
	calling, cancel := context.WithTimeoutCause(ctx, limit+l.eventsTake()+c.Talk, errors.New("the call took too long"))
	call, err := l.call(calling)
	cancel()
	stop()
	err = errors.Join(err, l.close())
	call.Seed = seed
	return call, err
}

// eventsTake is when the last event is over, from the first media on.
func (l *lab) eventsTake() (last time.Duration) {
	for _, e := range l.c.Events {
		end := e.At
		if e.Cut != nil {
			end += e.Cut.For
		}
		last = max(last, end)
	}
	return last
}

// call has one phone call the other, lets the events happen, and has the caller hang
// up.
func (l *lab) call(ctx context.Context) (report.Call, error) {
	var phones [2]*handset
	for i, host := range []string{l.c.Caller, l.c.Callee} {
		h, err := l.newHandset(ctx, host, numbers[i])
		if err != nil {
			return report.Call{}, err
		}
		defer h.client.Close()
		phones[i] = h
	}
	for i, h := range phones {
		if err := h.knows(ctx, numbers[1-i]); err != nil {
			return report.Call{}, fmt.Errorf("contacts of %s: %w", h.host.Name(), err)
		}
	}
	l.began = time.Now()
	called := make(chan outcome, 1)
	go func() { called <- phones[1].answer(ctx) }()
	talking, hangUp := context.WithCancel(ctx)
	defer hangUp()
	placed := make(chan outcome, 1)
	go func() { placed <- phones[0].place(talking, numbers[1]) }()

	var outcomes [2]outcome
	var err error
	ended := l.untilMedia(ctx, phones, placed)
	if ended == nil {
		if err = l.play(ctx); err == nil {
			err = sleep(ctx, l.c.Talk)
		}
		l.note(l.c.Caller, "hangs up")
		hangUp()
		outcomes[0] = <-placed
	} else {
		outcomes[0] = *ended
	}
	outcomes[1] = <-called
	return l.report(outcomes), err
}

// untilMedia waits for media on both sides; it returns the caller's outcome if the call
// is over before that.
func (l *lab) untilMedia(ctx context.Context, phones [2]*handset, placed <-chan outcome) *outcome {
	for _, h := range phones {
		select {
		case <-h.media:
		case o := <-placed:
			return &o
		}
	}
	return nil
}

// report is how the call went, judged.
func (l *lab) report(o [2]outcome) report.Call {
	c := l.c
	call := report.Call{
		Scenario: c.Scenario, Case: c.Name, Caller: c.CallerAccess, Callee: c.CalleeAccess, Engine: "virtual", Client: "softphone",
		Expected: c.Expect.Path, Reason: c.Reason,
	}
	var before [2]report.Side
	for i, host := range []string{c.Caller, c.Callee} {
		before[i], call.Sides[i] = sideOf(host, o[i].summary, l.until)
		call.Connect = max(call.Connect, call.Sides[i].FirstMedia)
		call.Gap = max(call.Gap, call.Sides[i].Gap)
		if err := o[i].err; err != nil {
			call.Failures = append(call.Failures, fmt.Sprintf("%s: %v", host, err))
		}
	}
	call.Path = string(judge.PathOf(before[0], before[1]))
	call.After = string(judge.PathOf(call.Sides[0], call.Sides[1]))
	l.mu.Lock()
	call.Events = slices.Clone(l.moments)
	l.mu.Unlock()
	judge.Judge(c, &call)
	return call
}

var traceHook func(*lab)
