// Package bubble runs functions in virtual time: each in a bubble of testing/synctest
// of its own, in which the clock moves on when all of its goroutines wait. Programs that
// are not tests can have bubbles, too, see [Start].
package bubble

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// Runner makes bubbles. Its methods may be called concurrently.
type Runner struct{ t *testing.T }

// In makes bubbles of a test, which must outlive them.
func In(t *testing.T) *Runner { return &Runner{t: t} }

// Run calls f in a bubble, and returns once f has and nothing that it began is left. In
// it, time begins at midnight UTC, 2000-01-01. The context is the bubble's own and ends
// with f; that of the caller cannot end what waits in virtual time, so that a bubble
// takes as long as it takes. Goroutines that f leaves behind and that wait for ever are a
// panic: it is a fault of the program, not of what it looks at.
func (r *Runner) Run(name string, f func(context.Context)) {
	r.t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(errDone)
			f(ctx)
		})
	})
}

var errDone = errors.New("the bubble is over")
