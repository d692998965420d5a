package call

import (
	"slices"
	"time"
)

// Due is a timer that runs, and when it runs out.
type Due struct {
	Timer Timer     `json:"timer"`
	At    time.Time `json:"at"`
}

// start has a timer run out after d, anew if it runs.
func (c *Call) start(t Timer, d time.Duration, now time.Time) Action {
	c.drop(t)
	c.Due = append(c.Due, Due{t, now.Add(d)})
	return StartTimer{t, d}
}

// stop stops those of some timers that run.
func (c *Call) stop(timers ...Timer) []Action {
	var acts []Action
	for _, t := range timers {
		if c.drop(t) {
			acts = append(acts, StopTimer{t})
		}
	}
	return acts
}

// drop forgets a timer and reports whether it ran. The list is not shared with
// the call before, see [Call.Next].
func (c *Call) drop(t Timer) bool {
	before := len(c.Due)
	c.Due = slices.DeleteFunc(c.Due, func(d Due) bool { return d.Timer == t })
	return len(c.Due) < before
}

// expired reports whether a timer has run out. One that does not run, or not yet
// out, has no effect: whoever fires it may be late, or be one of several who do.
func (c *Call) expired(t Timer, now time.Time) bool {
	i := slices.IndexFunc(c.Due, func(d Due) bool { return d.Timer == t })
	return i >= 0 && !now.Before(c.Due[i].At)
}
