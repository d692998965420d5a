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
	running map[string]kept // by call; only those that have timers
	stopped bool
}

// kept are the timers of a call, as they were in a revision of its record.
type kept struct {
	rev    uint64
	timers map[call.Timer]running
}

type running struct {
	timer *time.Timer
	at    time.Time
}

// keep has exactly those timers of a call run that are due in a revision of its
// record. Whoever comes with an older one than another is too late.
func (t *timers) keep(id string, rev uint64, due []call.Due) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[id].rev > rev {
		return
	}
	for _, name := range call.Timers {
		var at time.Time
		for _, d := range due {
			if d.Timer == name {
				at = d.At
			}
		}
		switch old, runs := t.running[id].timers[name]; {
		case at.IsZero() && runs:
			old.timer.Stop()
			t.forget(id, name)
		case !at.IsZero() && !(runs && old.at.Equal(at)):
			t.start(id, name, at)
		}
	}
	if k, runs := t.running[id]; runs {
		k.rev = rev
		t.running[id] = k
	}
}

// runs reports whether the call has any timer here.
func (t *timers) runs(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.running[id].timers) > 0
}

// again has a timer run out a while from now, because what was to be done could
// not be.
func (t *timers) again(id string, name call.Timer, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start(id, name, time.Now().Add(d))
}

// start must hold mu.
func (t *timers) start(id string, name call.Timer, at time.Time) {
	if t.stopped {
		return
	}
	if old, runs := t.running[id].timers[name]; runs {
		old.timer.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(at), func() {
		t.mu.Lock()
		current := t.running[id].timers[name].timer == timer
		if current {
			t.forget(id, name)
		}
		t.mu.Unlock()
		if current {
			t.fire(id, name)
		}
	})
	k := t.running[id]
	if k.timers == nil {
		k.timers = map[call.Timer]running{}
	}
	k.timers[name] = running{timer, at}
	if t.running == nil {
		t.running = map[string]kept{}
	}
	t.running[id] = k
}

// forget must hold mu.
func (t *timers) forget(id string, name call.Timer) {
	delete(t.running[id].timers, name)
	if len(t.running[id].timers) == 0 {
		delete(t.running, id)
	}
}

// stopAll stops every timer for good.
func (t *timers) stopAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for _, k := range t.running {
		for _, r := range k.timers {
			r.timer.Stop()
		}
	}
	clear(t.running)
}

func (t *timers) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, k := range t.running {
		n += len(k.timers)
	}
	return n
}
