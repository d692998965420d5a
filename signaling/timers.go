package signaling

import (
	"sync"
	"time"

	"switchboard/signaling/call"
)

// timers holds the timers of calls. Starting one that runs starts it anew; one
// that has been stopped or started anew does not fire. The zero value with
// fire set is ready.
type timers struct {
	fire func(id string, t call.Timer) // must not block

	mu      sync.Mutex
	running map[timerKey]*time.Timer
	stopped bool
}

type timerKey struct {
	call  string
	timer call.Timer
}

func (t *timers) start(id string, name call.Timer, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return
	}
	if t.running == nil {
		t.running = map[timerKey]*time.Timer{}
	}
	key := timerKey{id, name}
	if old := t.running[key]; old != nil {
		old.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		t.mu.Lock()
		current := t.running[key] == timer
		if current {
			delete(t.running, key)
		}
		t.mu.Unlock()
		if current {
			t.fire(id, name)
		}
	})
	t.running[key] = timer
}

func (t *timers) stop(id string, name call.Timer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := timerKey{id, name}
	if old := t.running[key]; old != nil {
		old.Stop()
		delete(t.running, key)
	}
}

// stopAll stops every timer for good.
func (t *timers) stopAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for key, timer := range t.running {
		timer.Stop()
		delete(t.running, key)
	}
}

func (t *timers) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.running)
}
