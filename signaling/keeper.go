package signaling

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"switchboard/signaling/call"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

// The timers of a call run at its keeper, the node that last changed the record,
// which says so. When a node dies, those that are left look through the records of
// all calls, each for its share, and keep what it kept. While no node dies that
// costs nothing.

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

// Run takes over the calls of nodes that have died, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var before []string
	var search time.Time // when all calls are to be looked through
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var nodes []string
		for _, n := range s.Nodes.NodeList() {
			nodes = append(nodes, n.Incarnation)
		}
		if !slices.Contains(nodes, s.Nodes.Incarnation()) {
			continue // it cannot know who is there
		}
		gone := slices.ContainsFunc(before, func(n string) bool { return !slices.Contains(nodes, n) })
		before = nodes
		if !gone && time.Now().Before(search) {
			continue
		}
		search = time.Now().Add(searchEvery/2 + rand.N(searchEvery))
		if err := s.calls.adoptAll(ctx, nodes); err != nil && ctx.Err() == nil {
			s.log.Warn("calls of nodes that have gone not taken over; it is tried again", "error", err)
			search = time.Now().Add(searchAgain)
		}
	}
}

// adoptAll keeps this node's share of the calls whose keeper is none of nodes.
func (k *calls) adoptAll(ctx context.Context, nodes []string) error {
	keys, err := k.srv.Records.Keys(ctx, callKey(""))
	if err != nil {
		return err
	}
	own := k.srv.Nodes.Incarnation()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(searchAtOnce)
	for _, key := range keys {
		id := strings.TrimPrefix(key, callKey(""))
		if keeperOf(id, nodes) == own {
			g.Go(func() error { return k.adopt(ctx, id, nodes) })
		}
	}
	return g.Wait()
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

// adopt keeps a call if nobody does. What its keeper may have left undone at the
// end is done again: all of it bears repeating.
func (k *calls) adopt(ctx context.Context, id string, nodes []string) error {
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
	if len(r.Due) == 0 || slices.Contains(nodes, r.Keeper) {
		return nil
	}
	r.Keeper = k.srv.Nodes.Incarnation()
	data, ttl, err := r.encode()
	if err != nil {
		return err
	}
	switch _, err := k.srv.Records.Save(ctx, callKey(id), data, rev, ttl); {
	case errors.Is(err, callstore.ErrConflict):
		return nil // somebody has just changed it, and keeps it
	case err != nil:
		return err
	}
	k.srv.metrics.adopted.Inc()
	k.timers.keep(r.ID, r.Due)
	if r.State == protocol.Ended {
		k.perform(ctx, &r, []call.Action{call.Conclude{}})
	}
	return nil
}
