package directory

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Run holds the node's lease, follows those of the others, answers requests,
// writes down who was last seen and removes what dead nodes left behind. It
// returns nil when ctx ends, after giving the lease back, or what else went
// wrong. It may be called once.
//
// A lease that could not be kept, because NATS was away or the process was
// paused, is lost for good: [Directory.Ready] tells so, and [Directory.Bind]
// refuses, until Run holds another, under another incarnation. What the node
// still has is then for the function of [Directory.OnLease] to bind anew.
func (d *Directory) Run(ctx context.Context) error {
	first, err := d.begin(ctx, true)
	if err != nil {
		return err
	}
	g, run := errgroup.WithContext(ctx)
	g.Go(func() error { return d.keepLease(run, first) })
	g.Go(func() error { return d.watchNodes(run) })
	g.Go(func() error { return d.keepSeen(run) })
	g.Go(func() error { return d.sweepUp(run) })
	g.Go(func() error { return d.hear(run) })
	g.Go(func() error { return d.hearRelays(run) })
	g.Go(func() error { return d.tellOfRelays(run) })
	err = g.Wait()
	d.last()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// OnLease sets what is called when the node has another lease after it has lost
// one, while it keeps it: bindings are void that were made before. ctx ends with
// [Directory.Run], which waits for f. It must be set before Run.
func (d *Directory) OnLease(f func(ctx context.Context)) { d.regained = f }

// holding is a lease that the node has.
type holding struct {
	rev           uint64
	stopAnswering func()
}

// keepLease holds one lease after the other until ctx ends.
func (d *Directory) keepLease(ctx context.Context, h holding) error {
	var after sync.WaitGroup
	defer after.Wait()
	var one sync.Mutex // what one lease has begun ends before the next begins it
	for {
		err := d.renewLease(ctx, h.rev)
		h.stopAnswering()
		if ctx.Err() != nil || !errors.Is(err, ErrLeaseLost) {
			return err
		}
		d.setGood(time.Time{})
		d.setTrouble(ErrLeaseLost)
		d.metrics.lost.Inc()
		was := d.Incarnation()
		d.log.Warn("lease lost; the node keeps its connections and takes another lease when it can", "node", was)
		if h, err = d.begin(ctx, false); err != nil {
			return err
		}
		d.log.Info("lease regained", "node", d.Incarnation(), "before", was)
		d.toWatchAnew()
		after.Go(func() {
			d.giveBack(ctx, was) // others may not know yet that it is nobody's
			one.Lock()
			defer one.Unlock()
			if d.regained != nil && ctx.Err() == nil {
				d.regained(ctx)
			}
		})
	}
}

// begin takes a lease and answers requests. After the first, it tries until it
// works or ctx ends, each time as another incarnation.
func (d *Directory) begin(ctx context.Context, first bool) (h holding, err error) {
	for wait := leaseAgain; ; wait = min(2*wait, d.config.RenewEvery) {
		if !first {
			d.beAnother()
			err = d.openVolatile(ctx) // NATS may have forgotten what it kept in memory
		}
		if err == nil {
			h.stopAnswering, err = d.serve()
		}
		if err == nil {
			if h.rev, err = d.takeLease(ctx); err == nil {
				return h, nil
			}
			h.stopAnswering()
		}
		if first {
			return holding{}, wrap("take lease", err)
		}
		d.log.Debug("no lease yet", "error", err)
		if err := sleep(ctx, wait/2+rand.N(wait)); err != nil {
			return holding{}, err
		}
		err = nil
	}
}

// leaseAgain is about how long a node waits at first before it asks again for a
// lease; it doubles up to the time between renewals.
const leaseAgain = 100 * time.Millisecond

// beAnother gives the node another incarnation.
func (d *Directory) beAnother() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.incarnation = d.config.incarnation(strings.ToLower(crand.Text()[:8]))
}

// last does what must still be done when the others have ended. The lease goes
// first: from then on the node's devices count as away.
func (d *Directory) last() {
	ctx, cancel := context.WithTimeout(context.Background(), d.config.RequestTimeout)
	defer cancel()
	d.giveBack(ctx, d.Incarnation())
	d.setGood(time.Time{})
	d.writeSeen(ctx)
}

// giveBack ends a lease of this node before its time. What cannot be removed
// lapses, or the janitor removes it.
func (d *Directory) giveBack(ctx context.Context, incarnation string) {
	for _, b := range []*bucket{d.nodes, d.presence} {
		e, err := b.getLeader(ctx, leaseKey(incarnation))
		if err == nil {
			err = b.remove(ctx, leaseKey(incarnation), e.rev)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			d.log.Debug("lease not given back", "bucket", b.name, "error", err)
		}
	}
}

// setGood says how long the own lease holds.
func (d *Directory) setGood(until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.good, d.trouble = until, nil
}

// setTrouble says why the lease could not be renewed.
func (d *Directory) setTrouble(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trouble = err
}

func (d *Directory) takeLease(ctx context.Context) (uint64, error) {
	if err := d.putWitness(ctx, d.Incarnation()); err != nil {
		return 0, err
	}
	begun := time.Now()
	rev, err := d.nodes.swap(ctx, leaseKey(d.Incarnation()), d.leaseData(), 0, d.config.LeaseTTL)
	if err == nil {
		d.setGood(begun.Add(d.config.LeaseTTL))
	}
	return rev, err
}

// renewLease keeps the lease. A renewal counts from when it was begun, so that
// the node never believes in its lease longer than the others do; it returns
// ErrLeaseLost the moment that it can believe no more.
func (d *Directory) renewLease(ctx context.Context, rev uint64) error {
	d.mu.Lock()
	end := d.good
	d.mu.Unlock()
	tick := time.NewTicker(d.config.RenewEvery)
	defer tick.Stop()
	for {
		until, cancel := context.WithDeadlineCause(ctx, end, ErrLeaseLost)
		renew := false
		select {
		case <-tick.C:
			renew = true
		case <-d.tellNow:
			renew = true
		case <-until.Done():
		}
		if renew {
			begun := time.Now()
			next, err := d.renewOnce(until, rev)
			if err == nil {
				rev, end = next, begun.Add(d.config.LeaseTTL)
				d.setGood(end)
				err = d.checkWitness(until, d.Incarnation())
			}
			switch {
			case err == nil || ctx.Err() != nil:
			case errors.Is(err, ErrLeaseLost):
				cancel()
				return ErrLeaseLost
			default:
				d.setTrouble(fmt.Errorf("lease not renewed: %w", err))
				d.log.Warn("lease not renewed", "left", time.Until(end), "error", err)
			}
		}
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case !time.Now().Before(end):
			return ErrLeaseLost
		}
	}
}

// renewOnce renews the lease and returns its revision.
func (d *Directory) renewOnce(ctx context.Context, rev uint64) (next uint64, err error) {
	defer d.metrics.observe(opRenew)(&err)
	for range 2 {
		next, err = d.nodes.swap(ctx, leaseKey(d.Incarnation()), d.leaseData(), rev, d.config.LeaseTTL)
		if !errors.Is(err, errRevision) {
			return next, d.orLost(ctx, err)
		}
		// Ours lapsed, or an earlier renewal arrived whose answer did not.
		e, err := d.nodes.getLeader(ctx, leaseKey(d.Incarnation()))
		if errors.Is(err, ErrNotFound) {
			return 0, ErrLeaseLost
		}
		if err != nil {
			return 0, err
		}
		rev = e.rev
	}
	return 0, err
}
