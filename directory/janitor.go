package directory

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"
)

const (
	// sweepEvery is how often the janitor looks without a reason.
	sweepEvery = 10 * time.Minute
	// sweepSoon is the most that it waits after a node's end, so that not all
	// nodes reach for the broom at the same moment.
	sweepSoon = time.Second
	// sweepLock is for how long one node has the broom. A sweep that takes
	// longer takes it again.
	sweepLock = time.Minute
	// sweepBatch is how many bindings are read at once.
	sweepBatch = 500
)

// sweepKey is the key in NODES of the broom.
const sweepKey = "sweep"

// toSweep gives the janitor work.
func (d *Directory) toSweep() {
	select {
	case d.deaths <- struct{}{}:
	default: // it has some
	}
}

// sweepUp is the janitor. What dead nodes left behind is void without it; it
// gives the memory back, and writes down until when their accounts were seen.
func (d *Directory) sweepUp(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-d.deaths:
			if sleep(ctx, rand.N(sweepSoon)) != nil {
				return nil
			}
		}
		if err := d.sweep(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("bindings of dead nodes not removed", "error", err)
		}
	}
}

// sweep walks over all bindings and removes those of dead nodes, unless
// another node is doing so.
func (d *Directory) sweep(ctx context.Context) error {
	rev, err := d.nodes.create(ctx, sweepKey, d.leaseData(), sweepLock)
	if errors.Is(err, errRevision) {
		return nil
	}
	if err != nil {
		return err
	}
	taken := time.Now()
	dead := map[string]bool{}
	for from := uint64(1); from != 0; {
		var entries []entry
		if entries, from, err = d.presence.scan(ctx, from, sweepBatch); err != nil {
			break
		}
		for _, e := range entries {
			if err = d.sweepOne(ctx, e, dead); err != nil {
				break
			}
		}
		if time.Since(taken) > sweepLock/2 && err == nil {
			taken = time.Now()
			rev, err = d.nodes.swap(ctx, sweepKey, d.leaseData(), rev, sweepLock)
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, d.nodes.remove(context.WithoutCancel(ctx), sweepKey, rev))
}

// sweepOne removes a binding if its node is dead, or what else a dead node has
// left there. dead has the answers of the leader.
func (d *Directory) sweepOne(ctx context.Context, e entry, dead map[string]bool) error {
	if incarnation, ok := strings.CutPrefix(e.key, leaseKey("")); ok {
		_, err := d.sweepIf(ctx, e, incarnation, dead)
		return err
	}
	b, err := decodeBinding(e.data)
	if err != nil {
		return nil // what cannot be read is left as it is
	}
	if swept, err := d.sweepIf(ctx, e, b.Node, dead); !swept || err != nil {
		return err
	}
	d.metrics.swept.Inc()
	return d.noteSeen(ctx, b.Account, d.endOf([]Binding{b}, b.Since))
}

// sweepIf removes an entry if a node is dead, which the leader is asked, once for
// each node.
func (d *Directory) sweepIf(ctx context.Context, e entry, node string, dead map[string]bool) (swept bool, err error) {
	if d.alive(node) {
		return false, nil
	}
	gone, known := dead[node]
	if !known {
		_, err := d.nodes.getLeader(ctx, leaseKey(node))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, err
		}
		gone = err != nil
		dead[node] = gone
	}
	if !gone {
		return false, nil
	}
	err = d.presence.remove(ctx, e.key, e.rev)
	if errors.Is(err, errRevision) {
		return false, nil // the device is back
	}
	return err == nil, err
}
