package directory

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// watchAgain is how long to wait at first before the leases are watched
	// anew; it doubles up to watchAgainMost.
	watchAgain     = 250 * time.Millisecond
	watchAgainMost = 4 * time.Second
	// rememberDead is how long a node's end is remembered, for last seen.
	rememberDead = time.Hour
)

// alive reports whether the lease of a node holds.
func (d *Directory) alive(incarnation string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.aliveLocked(incarnation)
}

// aliveLocked is for who holds mu. The end of a lease is told by the watch; if
// that is interrupted, a lease counts for a little longer than its time.
func (d *Directory) aliveLocked(incarnation string) bool {
	if incarnation == d.incarnation {
		return time.Now().Before(d.good)
	}
	heard, ok := d.leases[incarnation]
	return ok && time.Since(heard) < d.config.LeaseTTL+d.config.RenewEvery
}

// Nodes lists the incarnations whose leases hold, this node's included.
func (d *Directory) Nodes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Collect(maps.Keys(d.leases))
	if _, ok := d.leases[d.incarnation]; !ok {
		all = append(all, d.incarnation)
	}
	all = slices.DeleteFunc(all, func(n string) bool { return !d.aliveLocked(n) })
	slices.Sort(all)
	return all
}

func (d *Directory) counts() (nodes, unseen int) {
	nodes = len(d.Nodes())
	d.mu.Lock()
	defer d.mu.Unlock()
	return nodes, len(d.waiting)
}

// watchNodes follows the leases. When NATS ends a watch, it begins another;
// whether the node may go on meanwhile is for its own lease to say.
func (d *Directory) watchNodes(ctx context.Context) error {
	for wait := watchAgain; ; wait = min(2*wait, watchAgainMost) {
		begun := time.Now()
		err := d.watchOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		d.log.Warn("leases are watched anew", "error", err)
		if time.Since(begun) > watchAgainMost {
			wait = watchAgain
		}
		if sleep(ctx, wait/2+rand.N(wait)) != nil {
			return nil
		}
	}
}

// watchOnce is the one consumer that a node has.
func (d *Directory) watchOnce(ctx context.Context) error {
	kv, err := d.js.KeyValue(ctx, bucketNodes)
	if err != nil {
		return wrap("watch nodes", err)
	}
	w, err := kv.Watch(ctx, leaseKey(">"))
	if err != nil {
		return wrap("watch nodes", err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case u, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("watch nodes: ended")
			case u == nil:
				d.knowNodes()
			default:
				d.noteLease(strings.TrimPrefix(u.Key(), leaseKey("")), u.Operation() == jetstream.KeyValuePut, u.Created())
			}
		}
	}
}

// knowNodes notes that all leases have been seen once.
func (d *Directory) knowNodes() {
	d.mu.Lock()
	first := !d.loaded
	d.loaded = true
	d.mu.Unlock()
	if first {
		close(d.started)
		d.toSweep()
	}
}

// noteLease notes that a lease was renewed, or ended, at a time of the
// server's clock.
func (d *Directory) noteLease(incarnation string, alive bool, at time.Time) {
	d.mu.Lock()
	_, known := d.leases[incarnation]
	if alive {
		d.leases[incarnation] = time.Now()
		delete(d.died, incarnation)
	} else {
		delete(d.leases, incarnation)
		d.died[incarnation] = at.UTC().Truncate(time.Millisecond)
		maps.DeleteFunc(d.died, func(_ string, at time.Time) bool { return time.Since(at) > rememberDead })
	}
	d.mu.Unlock()
	if known == alive || incarnation == d.incarnation {
		return
	}
	d.log.Info("node", "node", incarnation, "alive", alive)
	if !alive {
		d.toSweep()
		d.watches.all()
	}
}
