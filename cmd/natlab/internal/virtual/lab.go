package virtual

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/relay/natlab"
	"switchboard/relay/natlab/labrelay"
)

// lab is all that there is for one call. It is owned by the goroutine that runs the case.
type lab struct {
	// Static after build.
	c         scenario.Case
	world     *natlab.World
	authority *authority
	stores    *stores
	log       *slog.Logger

	relays map[string]*labrelay.Relay // that run
	nodes  map[string]*node
	tasks  sync.WaitGroup
	began  time.Time
	until  time.Duration // when the first event came, from began; the time of the end without one

	mu      sync.Mutex
	moments []report.Moment // guarded by mu
}

// build makes the networks of a case and starts its servers.
func build(ctx context.Context, c scenario.Case, seed uint64, a *authority, log *slog.Logger) (*lab, error) {
	world, err := natlab.Build(seed, withDelay(c.Topology))
	if err != nil {
		return nil, err
	}
	l := &lab{
		c: c, world: world, authority: a, log: log,
		relays: map[string]*labrelay.Relay{}, nodes: map[string]*node{}, began: time.Now(),
	}
	if l.stores, err = newStores(labrelay.Secrets()); err != nil {
		return nil, errors.Join(err, l.close())
	}
	l.tasks.Go(func() { l.stores.roster.watch(ctx) })
	for _, name := range slices.Sorted(maps.Keys(c.Relays)) {
		if err := l.start(ctx, name); err != nil {
			return nil, errors.Join(err, l.close())
		}
	}
	for _, name := range c.Signaling {
		if err := l.start(ctx, name); err != nil {
			return nil, errors.Join(err, l.close())
		}
	}
	return l, nil
}

// internetDelay is that of each packet into the internet and out of it, where a scenario
// gives its link none: what takes no time at all happens in an order that no real network
// has.
const internetDelay = 5 * time.Millisecond

func withDelay(t natlab.Topology) natlab.Topology {
	internet := t.Networks[natlab.Internet]
	if internet.Link == (natlab.Link{}) {
		internet.Link.Delay = internetDelay
		t.Networks = maps.Clone(t.Networks)
		if t.Networks == nil {
			t.Networks = map[string]natlab.NetworkSpec{}
		}
		t.Networks[natlab.Internet] = internet
	}
	return t
}

// start starts a relay or a node on its host.
func (l *lab) start(ctx context.Context, name string) error {
	if l.world.Host(name) == nil {
		return fmt.Errorf("no host %s", name)
	}
	if _, ok := l.c.Relays[name]; ok {
		return l.startRelay(name)
	}
	cert, err := l.authority.certificate(name)
	if err != nil {
		return err
	}
	n, err := startNode(ctx, l.world.Host(name), l.stores, cert, l.log)
	if err == nil {
		l.nodes[name] = n
	}
	return err
}

// note writes down what happened.
func (l *lab) note(who, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moments = append(l.moments, report.Moment{At: time.Since(l.began), Who: who, What: what})
}

// close stops the servers, and takes the networks away. The context of build must have
// ended.
func (l *lab) close() error {
	var err error
	for _, name := range slices.Sorted(maps.Keys(l.nodes)) {
		err = errors.Join(err, l.nodes[name].stop())
	}
	for _, name := range slices.Sorted(maps.Keys(l.relays)) {
		err = errors.Join(err, l.relays[name].Close())
	}
	l.tasks.Wait()
	l.world.Close()
	return err
}
