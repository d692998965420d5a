package signaling

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

// The timers of a call run at its keeper, the node that last changed the record,
// which says so. When a node dies, those that are left look through the records of
// all calls, each for its share, and keep what it kept. While no node dies they do so
// now and then all the same, and take over calls whose timers a living node has lost.

const (
	// lookEvery is how often a node looks whether another has gone.
	lookEvery = time.Second
	// searchEvery is about how often it looks through all calls for those that
	// nobody keeps, whatever may have gone wrong.
	searchEvery = 10 * time.Minute
	// searchAgain is how long it waits if that failed.
	searchAgain = 2 * time.Second
	// searchAtOnce is how many records it loads at a time.
	searchAtOnce = 16
)

// Run takes over the calls of nodes that have died, and has calls leave relays that
// are drained or have died, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var before []string
	var search time.Time // when all calls are to be looked through
	var searched time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.search:
			if search = (time.Time{}); time.Since(searched) < lookEvery {
				continue // at the next tick: a relay that comes and goes is not to keep everybody busy
			}
		}
		var nodes, able []string // able are those that take calls over
		for _, n := range s.Nodes.NodeList() {
			nodes = append(nodes, n.Incarnation)
			if !n.Draining {
				able = append(able, n.Incarnation)
			}
		}
		if !slices.Contains(nodes, s.Nodes.Incarnation()) {
			continue // it cannot know who is there
		}
		if s.draining.Load() {
			continue // it stops, and could not do what it took over
		}
		if len(able) == 0 {
			able = nodes
		}
		gone := slices.ContainsFunc(before, func(n string) bool { return !slices.Contains(nodes, n) })
		before = nodes
		if !gone && time.Now().Before(search) {
			continue
		}
		searched = time.Now()
		search = searched.Add(searchEvery/2 + rand.N(searchEvery))
		if err := s.calls.searchAll(ctx, nodes, able); err != nil && ctx.Err() == nil {
			s.log.Warn("calls not looked through for those that nobody keeps, or that must leave a relay", "error", err)
			if errors.Is(err, callstore.ErrUnavailable) {
				search = time.Now().Add(searchAgain)
			}
		}
	}
}

// searchAll looks through this node's share of all calls: it keeps those that no other
// of nodes keeps, and moves those whose relay is drained or has died. The shares are
// those of the able nodes. Records that it cannot read, as of a newer version, are left
// to others.
func (k *calls) searchAll(ctx context.Context, nodes, able []string) error {
	keys, err := k.srv.Records.Keys(ctx, callKey(""))
	if err != nil {
		return err
	}
	own := k.srv.Nodes.Incarnation()
	var unread atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(searchAtOnce)
	for _, key := range keys {
		id := strings.TrimPrefix(key, callKey(""))
		if keeperOf(id, able) != own {
			continue
		}
		g.Go(func() error {
			err := k.look(ctx, id, nodes)
			if err == nil || errors.Is(err, callstore.ErrUnavailable) || ctx.Err() != nil {
				return err
			}
			k.srv.log.Debug("record of a call not looked at", "error", err)
			unread.Add(1)
			return nil
		})
	}
	err = g.Wait()
	if n := unread.Load(); n > 0 {
		k.srv.log.Warn("records of calls cannot be read here; their timers are left to other nodes", "records", n)
	}
	return err
}

// keeperOf chooses among nodes the one that is to keep a call, so that each gets a
// part and all agree (rendezvous hashing).
func keeperOf(id string, nodes []string) (best string) {
	var most uint64
	for _, n := range nodes {
		h := sha256.Sum256([]byte(n + " " + id))
		if w := binary.BigEndian.Uint64(h[:]); best == "" || w > most {
			best, most = n, w
		}
	}
	return best
}

// look moves a call that must leave a relay, and keeps it if nobody does: its keeper
// has died, or has lost its timers. What was perhaps left undone at its end is done
// again.
func (k *calls) look(ctx context.Context, id string, nodes []string) error {
	lock := k.lock(id)
	lock.Lock()
	defer lock.Unlock()
	ctx, cancel := context.WithTimeout(ctx, k.srv.cfg.RequestTimeout)
	defer cancel()
	r, _, rev, err := k.load(ctx, id)
	if errors.Is(err, callstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	k.moves.consider(&r)
	own := k.srv.Nodes.Incarnation()
	kept := slices.Contains(nodes, r.Keeper) && (r.Keeper != own || k.timers.runs(id))
	writing := r.State == protocol.Ended && time.Since(r.Ended) < unwrittenFor // and tries again by itself
	if len(r.Due) == 0 || kept && (overdue(&r) == "" || writing) {
		return nil
	}
	r.Keeper = own
	data, ttl, err := r.encode()
	if err != nil {
		return err
	}
	rev, err = k.srv.Records.Save(ctx, callKey(id), data, rev, ttl)
	if errors.Is(err, callstore.ErrConflict) {
		return nil // somebody has just changed it, and keeps it
	}
	if err != nil {
		return err
	}
	k.srv.metrics.adopted.Inc()
	k.timers.keep(id, rev, r.Due)
	if r.State == protocol.Ended {
		k.srv.goroutines.Go(func() { k.settle(&r) })
	}
	return nil
}
