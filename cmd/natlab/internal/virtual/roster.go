package virtual

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"switchboard/cmd/internal/iceservers"
	"switchboard/directory"
	"switchboard/relay"
)

// The times of the real roster, which relays and nodes keep through NATS.
const (
	speakEvery = 2 * time.Second
	deadAfter  = 6 * time.Second
)

// roster is which relays there are, in the place of what NATS tells nodes: relays speak
// every now and then, and one that does not counts as dead. It may be used by several
// goroutines.
type roster struct {
	mu      sync.Mutex
	relays  map[string]*listed
	starts  int
	changed []func() // for each node; called without mu
}

type listed struct {
	directory.RelayInfo
	heard  time.Time
	silent bool // it was killed: nothing is heard of it, whatever it says
}

func newRoster() *roster { return &roster{relays: map[string]*listed{}} }

// known lists the relays by their names.
func (r *roster) known() []directory.RelayInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []directory.RelayInfo
	for _, name := range slices.Sorted(maps.Keys(r.relays)) {
		all = append(all, r.relays[name].RelayInfo)
	}
	return all
}

// onChange has f called when a relay has come, has gone, or is drained.
func (r *roster) onChange(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = append(r.changed, f)
}

func (r *roster) tell() {
	r.mu.Lock()
	all := slices.Clone(r.changed)
	r.mu.Unlock()
	for _, f := range all {
		f()
	}
}

// watch finds the relays that have died, until ctx ends.
func (r *roster) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if r.bury() {
			r.tell()
		}
	}
}

func (r *roster) bury() (found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.relays {
		if l.Gone.IsZero() && time.Since(l.heard) > deadAfter {
			l.Gone, found = time.Now(), true
		}
	}
	return found
}

// silence has nothing more be heard of a relay, as when its machine is without power.
func (r *roster) silence(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.relays[name]; l != nil {
		l.silent = true
	}
}

// registrar makes one start of one relay known.
func (r *roster) registrar(name, region string) relay.Registrar {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starts++
	l := &listed{}
	l.Name, l.Region, l.Start = name, region, strconv.Itoa(r.starts)
	if old := r.relays[name]; old != nil {
		if l.Restarted = old.Gone; l.Restarted.IsZero() {
			l.Restarted = time.Now()
		}
	}
	return &registrar{r, l}
}

type registrar struct {
	roster *roster
	own    *listed
}

// Run implements [relay.Registrar].
func (g *registrar) Run(ctx context.Context, status func() relay.Status, changed <-chan struct{}) {
	tick := time.NewTicker(speakEvery)
	defer tick.Stop()
	for {
		g.speak(status())
		select {
		case <-ctx.Done():
			g.stop()
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

func (g *registrar) speak(s relay.Status) {
	r, l := g.roster, g.own
	r.mu.Lock()
	if l.silent {
		r.mu.Unlock()
		return
	}
	news := r.relays[l.Name] != l || l.Draining != s.Draining
	u := iceservers.URLsOf([]string{l.Name}, s.Addrs)
	l.STUN, l.TURN, l.Allocations, l.Max, l.Draining = u.STUN, u.TURN, s.Allocations, s.Max, s.Draining
	l.heard = time.Now()
	r.relays[l.Name] = l
	r.mu.Unlock()
	if news {
		r.tell()
	}
}

// stop is a relay's last word.
func (g *registrar) stop() {
	r, l := g.roster, g.own
	r.mu.Lock()
	news := !l.silent && l.Gone.IsZero()
	if news {
		l.Gone = time.Now()
	}
	r.mu.Unlock()
	if news {
		r.tell()
	}
}
