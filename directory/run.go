package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// seenEvery is how often it is written down who has left.
const seenEvery = time.Second

// Run holds the node's lease, follows those of the others, answers requests and
// writes down who was last seen. It returns nil when ctx ends, after giving the
// lease back; [ErrLeaseLost] when the lease could not be kept, in which case
// the node must close its sockets; or what else went wrong. It may be called
// once.
func (d *Directory) Run(ctx context.Context) error {
	stopAnswering, err := d.serve()
	if err != nil {
		return err
	}
	defer stopAnswering()
	rev, err := d.takeLease(ctx)
	if err != nil {
		return wrap("take lease", err)
	}
	g, run := errgroup.WithContext(ctx)
	loaded := make(chan struct{})
	g.Go(func() error { return d.watchNodes(run, sync.OnceFunc(func() { close(loaded) })) })
	g.Go(func() error { return d.renew(run, rev) })
	g.Go(func() error { return d.coalesceSeen(run) })
	g.Go(func() error {
		select {
		case <-loaded:
			d.setReady(nil)
			close(d.started)
		case <-run.Done():
		}
		return nil
	})
	err = g.Wait()
	d.setReady(errNotStarted)
	if errors.Is(err, ErrLeaseLost) {
		return err // at once: the sockets must close
	}
	d.last()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// last does what must still be done when the others have ended.
func (d *Directory) last() {
	ctx, cancel := context.WithTimeout(context.Background(), d.config.RequestTimeout)
	defer cancel()
	d.writeSeen(ctx)
	if e, err := d.nodes.getLeader(ctx, leaseKey(d.incarnation)); err == nil {
		if err := d.nodes.remove(ctx, leaseKey(d.incarnation), e.rev); err != nil {
			d.log.Debug("lease not given back", "error", err)
		}
	}
}

func (d *Directory) setReady(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ready = err
}

func (d *Directory) leaseData() []byte {
	data, _ := json.Marshal(Lease{V: recordVersion, Node: d.config.Node, Region: d.config.Region})
	return data
}

func (d *Directory) takeLease(ctx context.Context) (uint64, error) {
	return d.nodes.swap(ctx, leaseKey(d.incarnation), d.leaseData(), 0, d.config.LeaseTTL)
}

// renew keeps the lease. A renewal counts from when it was begun, so that the
// node never believes in its lease longer than the others do.
func (d *Directory) renew(ctx context.Context, rev uint64) error {
	good := time.Now().Add(d.config.LeaseTTL)
	tick := time.NewTicker(d.config.RenewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		begun := time.Now()
		next, err := d.nodes.swap(ctx, leaseKey(d.incarnation), d.leaseData(), rev, d.config.LeaseTTL)
		switch {
		case err == nil:
			rev, good = next, begun.Add(d.config.LeaseTTL)
			d.setReady(nil)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errRevision):
			// Ours lapsed, or an earlier renewal arrived whose answer did not.
			e, gerr := d.nodes.getLeader(ctx, leaseKey(d.incarnation))
			if errors.Is(gerr, ErrNotFound) {
				return ErrLeaseLost
			}
			if gerr == nil {
				rev = e.rev
			}
		default:
			d.setReady(fmt.Errorf("lease not renewed: %w", err))
			d.log.Warn("lease not renewed", "left", time.Until(good), "error", err)
		}
		if time.Now().After(good) {
			return ErrLeaseLost
		}
	}
}

// alive reports whether the lease of a node holds.
func (d *Directory) alive(incarnation string) bool {
	if incarnation == d.incarnation {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	renewed, ok := d.leases[incarnation]
	return ok && time.Since(renewed) < d.config.LeaseTTL+d.config.RenewEvery
}

// watchAgain is how long to wait before the leases are watched anew.
const watchAgain = 250 * time.Millisecond

// watchNodes follows the leases. When NATS ends a watch, it begins another;
// whether the node may go on meanwhile is for its own lease to say.
func (d *Directory) watchNodes(ctx context.Context, loaded func()) error {
	for {
		err := d.watchOnce(ctx, loaded)
		if ctx.Err() != nil {
			return nil
		}
		d.log.Warn("leases are watched anew", "error", err)
		if sleep(ctx, watchAgain) != nil {
			return nil
		}
	}
}

// watchOnce is the one consumer that a node has.
func (d *Directory) watchOnce(ctx context.Context, loaded func()) error {
	kv, err := d.js.KeyValue(ctx, bucketNodes)
	if err != nil {
		return wrap("watch nodes", err)
	}
	w, err := kv.WatchAll(ctx)
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
				loaded()
			case u != nil:
				d.noteLease(strings.TrimPrefix(u.Key(), "n."), u.Operation() == jetstream.KeyValuePut)
			}
		}
	}
}

func (d *Directory) noteLease(incarnation string, alive bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.leases[incarnation]; known != alive {
		d.log.Debug("node", "node", incarnation, "alive", alive)
	}
	if alive {
		d.leases[incarnation] = time.Now()
	} else {
		delete(d.leases, incarnation)
	}
}

// Nodes lists the incarnations whose leases hold.
func (d *Directory) Nodes() []string {
	d.mu.Lock()
	var all []string
	for n := range d.leases {
		all = append(all, n)
	}
	d.mu.Unlock()
	live := all[:0]
	for _, n := range all {
		if d.alive(n) {
			live = append(live, n)
		}
	}
	return live
}

func (d *Directory) coalesceSeen(ctx context.Context) error {
	tick := time.NewTicker(seenEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.writeSeen(ctx)
		}
	}
}
