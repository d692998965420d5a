package signaling

import (
	"sync"
	"time"

	"switchboard/signaling/call"
)

// timers has the timers of calls run out on this node. What runs, and until when,
// stands in the record; here is the clock. The zero value with fire set is ready.
type timers struct {
	fire func(id string, t call.Timer) // must not block

	mu      sync.Mutex
	running map[timerKey]running
	stopped bool
}

type timerKey struct {
	call  string
	timer call.Timer
}

type running struct {
	timer *time.Timer
	at    time.Time
}

// keep has exactly those timers of a call run that are due.
func (t *timers) keep(id string, due []call.Due) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range call.Timers {
		key := timerKey{id, name}
		var at time.Time
		for _, d := range due {
			if d.Timer == name {
				at = d.At
			}
		}
		switch old, runs := t.running[key]; {
		case at.IsZero() && runs:
			old.timer.Stop()
			delete(t.running, key)
		case !at.IsZero() && !(runs && old.at.Equal(at)):
			t.start(key, at)
		}
	}
}

// again has a timer run out a while from now, because what was to be done could
// not be.
func (t *timers) again(id string, name call.Timer, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start(timerKey{id, name}, time.Now().Add(d))
}

// start must hold mu.
func (t *timers) start(key timerKey, at time.Time) {
	if t.stopped {
		return
	}
	if t.running == nil {
		t.running = map[timerKey]running{}
	}
	if old, runs := t.running[key]; runs {
		old.timer.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(at), func() {
		t.mu.Lock()
		current := t.running[key].timer == timer
		if current {
			delete(t.running, key)
		}
		t.mu.Unlock()
		if current {
			t.fire(key.call, key.timer)
		}
	})
	t.running[key] = running{timer, at}
}

// stopAll stops every timer for good.
func (t *timers) stopAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for key, r := range t.running {
		r.timer.Stop()
		delete(t.running, key)
	}
}

func (t *timers) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.running)
}
