package virtual

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"switchboard/cmd/natlab/internal/bubble"
	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

// Engine places calls in virtual time. It may be used by several goroutines: calls do not
// share a world. It implements [engine.Engine].
type Engine struct {
	bubbles   *bubble.Runner
	authority *authority
}

var _ engine.Engine = (*Engine)(nil)

// New returns an engine whose calls run in the bubbles of a runner.
func New(b *bubble.Runner) (*Engine, error) {
	a, err := newAuthority()
	if err != nil {
		return nil, err
	}
	return &Engine{b, a}, nil
}

// Name is [engine.Virtual].
func (*Engine) Name() string { return engine.Virtual }

// Close has nothing to give back.
func (*Engine) Close() error { return nil }

// limit is how long a case may take, in virtual time, beside its events and its talk. A
// call that does not connect ends by itself before.
const limit = 5 * time.Minute

// Run implements [engine.Engine]. What ends in real time, as ctx, is heeded before the
// call alone: it takes less than a second.
func (e *Engine) Run(ctx context.Context, c scenario.Case, o engine.Options) (report.Call, error) {
	if err := context.Cause(ctx); err != nil {
		return report.Call{}, err
	}
	if o.Client != engine.Softphone {
		return report.Call{Skipped: "browsers need the kernel engine"}, nil
	}
	if c.NeedsKernel() {
		return report.Call{Skipped: "a relay is to relay in the kernel, and there is none in memory"}, nil
	}
	kept, err := newKeeper(o)
	if err != nil {
		return report.Call{}, err
	}
	var call report.Call
	e.bubbles.Run(strings.ReplaceAll(c.Scenario+"/"+c.Name, " ", "_"), func(ctx context.Context) {
		call, err = e.run(ctx, c, o.Seed, kept)
	})
	files, failed := kept.close()
	call.Kept = files
	return call, errors.Join(err, failed)
}

// run is in the bubble.
func (e *Engine) run(ctx context.Context, c scenario.Case, seed uint64, kept *keeper) (report.Call, error) {
	serving, stop := context.WithCancel(ctx)
	l, err := build(serving, c, seed, e.authority, kept.log)
	if err != nil {
		stop()
		return report.Call{}, err
	}
	if err := kept.capture(l.world, append(slices.Sorted(maps.Keys(c.Relays)), c.Caller, c.Callee)...); err != nil {
		stop()
		return report.Call{}, errors.Join(err, l.close())
	}
	calling, cancel := context.WithTimeoutCause(ctx, limit+l.eventsTake()+c.Talk, errors.New("the call took too long"))
	call, err := l.call(calling)
	cancel()
	if err == nil {
		call.Faults, err = l.trespasses(ctx)
	}
	stop()
	return call, errors.Join(err, l.close())
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

// report is how the call went.
func (l *lab) report(o [2]outcome) report.Call {
	c := l.c
	var call report.Call
	call.Answered = o[0].summary.Answer
	var before [2]report.Side
	for i, host := range []string{c.Caller, c.Callee} {
		before[i], call.Sides[i] = sideOf(host, o[i].summary, l.until)
		call.Connect = max(call.Connect, call.Sides[i].FirstMedia)
		call.Gap = max(call.Gap, call.Sides[i].Gap)
		if err := o[i].err; err != nil {
			l.note(host, "the call failed: "+err.Error())
		}
	}
	call.Path, call.After = string(report.PathOf(before)), string(report.PathOf(call.Sides))
	l.mu.Lock()
	call.Events = slices.Clone(l.moments)
	l.mu.Unlock()
	return call
}
