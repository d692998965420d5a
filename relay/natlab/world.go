package natlab

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"switchboard/relay/natlab/link"
)

// World is networks, routers and hosts in memory. It has one goroutine, which carries what
// is under way when its time comes; what nothing delays is carried by who sends it. All
// methods of it and of what is in it may be called by many goroutines at once.
//
// In a bubble of testing/synctest, it has to be made in there, and closed before the
// bubble ends.
type World struct {
	// Static after NewWorld.
	seed    uint64
	timer   *time.Timer
	done    chan struct{}
	stopped chan struct{}

	// mu guards the rest, and the state of all that is in the world: take it with lock,
	// which carries what is due.
	mu       sync.Mutex
	now      time.Time // as of lock
	networks map[string]*Network
	routers  map[string]*Router
	hosts    map[string]*Host
	ready    hops
	later    schedule
	armed    time.Time // when timer fires; zero if it does not
	tracers  []*tracer
	counts   Counts
	closed   bool
}

// NewWorld returns a world with the internet and nothing else. All that is random follows
// from seed, but for the order of what goroutines do at the same time.
func NewWorld(seed uint64) *World {
	w := newWorld(seed)
	w.lock()
	defer w.unlock()
	w.addNetwork(Internet, Topology{}.Complete().Networks[Internet])
	return w
}

func newWorld(seed uint64) *World {
	w := &World{
		seed:     seed,
		timer:    time.NewTimer(time.Hour),
		done:     make(chan struct{}),
		stopped:  make(chan struct{}),
		networks: make(map[string]*Network),
		routers:  make(map[string]*Router),
		hosts:    make(map[string]*Host),
	}
	w.timer.Stop()
	go w.run()
	return w
}

// Build returns the world of a topology. The error is that of [Topology.Validate].
func Build(seed uint64, t Topology) (*World, error) {
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	t = t.Complete()
	w := newWorld(seed)
	w.lock()
	defer w.unlock()
	for _, name := range sorted(t.Networks) {
		w.addNetwork(name, t.Networks[name])
	}
	for _, name := range t.outsideFirst() {
		r := t.Routers[name]
		w.addRouter(name, r, w.networks[r.Inside], w.networks[r.Outside])
	}
	for _, name := range sorted(t.Hosts) {
		w.addHost(name, w.networks[t.Hosts[name].Networks[0]])
	}
	return w, nil
}

// outsideFirst are the routers, each after those that are nearer to the internet.
func (t Topology) outsideFirst() []string {
	var order []string
	for depth := range len(t.Networks) + 1 {
		for _, name := range sorted(t.Routers) {
			if len(t.above(t.Routers[name].Outside)) == depth {
				order = append(order, name)
			}
		}
	}
	return order
}

// Close ends everything: all sockets are closed, nothing is carried any more. It returns
// when nothing runs. Further calls do nothing.
func (w *World) Close() {
	w.lock()
	if w.closed {
		w.unlock()
		<-w.stopped
		return
	}
	for _, name := range sorted(w.hosts) {
		w.hosts[name].crash()
	}
	w.closed = true
	w.ready, w.later = hops{}, schedule{}
	w.timer.Stop()
	w.mu.Unlock()
	close(w.done)
	<-w.stopped
}

// Internet is the public network.
func (w *World) Internet() *Network { return w.Network(Internet) }

// Network returns the network of that name, or nil.
func (w *World) Network(name string) *Network {
	w.lock()
	defer w.unlock()
	return w.networks[name]
}

// Router returns the router of that name, or nil.
func (w *World) Router(name string) *Router {
	w.lock()
	defer w.unlock()
	return w.routers[name]
}

// Host returns the host of that name, or nil.
func (w *World) Host(name string) *Host {
	w.lock()
	defer w.unlock()
	return w.hosts[name]
}

// rand is the source of randomness for one purpose.
func (w *World) rand(purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// line is one direction of a link; nil is one that does nothing.
func (w *World) line(c Link, purpose string) *link.Line {
	if c == (Link{}) {
		return nil
	}
	return link.New(c, w.rand(purpose))
}

// lock takes mu, and does first what is due.
func (w *World) lock() {
	w.mu.Lock()
	w.catchUp()
}

func (w *World) unlock() {
	w.settle()
	w.arm()
	w.mu.Unlock()
}

// wait waits for the condition to be signalled, with mu held before and after. Callers
// check again what they wait for: it may come of what they had just sent themselves.
func (w *World) wait(c *sync.Cond) {
	if !w.ready.empty() {
		w.settle()
		return
	}
	w.arm()
	c.Wait()
	w.catchUp()
}

func (w *World) catchUp() {
	w.now = time.Now()
	for !w.later.empty() && !w.later.first().at.After(w.now) {
		e := w.later.pop()
		if e.alarm != nil {
			e.alarm.due(e.at)
		} else {
			w.step(e.hop)
		}
		w.settle()
	}
	w.settle()
}

// settle carries what is under way without a delay, to its end.
func (w *World) settle() {
	for !w.ready.empty() {
		w.step(w.ready.pop())
	}
}

// arm has the timer fire when the next thing is due.
func (w *World) arm() {
	if w.later.empty() || w.closed {
		return
	}
	if next := w.later.first().at; w.armed.IsZero() || next.Before(w.armed) {
		w.armed = next
		w.timer.Reset(next.Sub(w.now))
	}
}

func (w *World) run() {
	defer close(w.stopped)
	for {
		select {
		case <-w.timer.C:
			w.mu.Lock()
			w.armed = time.Time{}
			w.catchUp()
			w.unlock()
		case <-w.done:
			return
		}
	}
}
