package directory

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
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
	h, ok := d.leases[incarnation]
	return ok && time.Since(h.at) < d.config.LeaseTTL+d.config.RenewEvery
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
		case <-d.rewatch:
			return errors.New("watch nodes: NATS may have forgotten")
		case u, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("watch nodes: ended")
			case u == nil:
				d.knowNodes()
			default:
				d.noteEntry(strings.TrimPrefix(u.Key(), leaseKey("")), u)
			}
		}
	}
}

// toWatchAnew has the leases watched anew: a watch does not tell when NATS has
// forgotten what it watches.
func (d *Directory) toWatchAnew() {
	select {
	case d.rewatch <- struct{}{}:
	default:
	}
}

// knowNodes notes that all leases have been seen once.
func (d *Directory) knowNodes() {
	d.mu.Lock()
	first := !d.loaded
	d.loaded = true
	maps.DeleteFunc(d.leases, func(n string, _ heard) bool { return !d.aliveLocked(n) })
	d.mu.Unlock()
	if first {
		close(d.started)
		d.toSweep()
	}
}

// noteEntry notes what the watch brings.
func (d *Directory) noteEntry(incarnation string, u jetstream.KeyValueEntry) {
	if u.Operation() != jetstream.KeyValuePut {
		d.noteLease(incarnation, nil, u.Created())
		return
	}
	l, err := decodeLease(incarnation, u.Value())
	if err != nil {
		d.log.Warn("lease of a node not understood", "node", incarnation, "error", err)
	}
	d.noteLease(incarnation, &l, u.Created())
}

// noteLease notes that a lease was renewed, or if it is nil ended, at a time of
// the server's clock.
func (d *Directory) noteLease(incarnation string, l *Lease, at time.Time) {
	alive := l != nil
	d.mu.Lock()
	_, known := d.leases[incarnation]
	if alive {
		d.leases[incarnation] = heard{time.Now(), *l}
		delete(d.died, incarnation)
	} else {
		delete(d.leases, incarnation)
		d.died[incarnation] = at.UTC().Truncate(time.Millisecond)
		maps.DeleteFunc(d.died, func(_ string, at time.Time) bool { return time.Since(at) > rememberDead })
	}
	d.mu.Unlock()
	if known == alive || incarnation == d.Incarnation() {
		return
	}
	d.log.Info("node", "node", incarnation, "alive", alive)
	if !alive {
		d.toSweep()
		d.watches.all()
	}
}
