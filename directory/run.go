package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// Run holds the node's lease, follows those of the others, answers requests,
// writes down who was last seen and removes what dead nodes left behind. It
// returns nil when ctx ends, after giving the lease back; [ErrLeaseLost] when
// the lease could not be kept, in which case the node must close its sockets;
// or what else went wrong. It may be called once.
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
	g.Go(func() error { return d.renewLease(run, rev) })
	g.Go(func() error { return d.watchNodes(run) })
	g.Go(func() error { return d.keepSeen(run) })
	g.Go(func() error { return d.hear(run) })
	g.Go(func() error { return d.sweepUp(run) })
	if err = g.Wait(); errors.Is(err, ErrLeaseLost) {
		d.setGood(time.Time{})
		d.setTrouble(ErrLeaseLost)
		return err // at once: the sockets must close
	}
	d.last()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// last does what must still be done when the others have ended. The lease goes
// first: from then on the node's devices count as away.
func (d *Directory) last() {
	ctx, cancel := context.WithTimeout(context.Background(), d.config.RequestTimeout)
	defer cancel()
	if e, err := d.nodes.getLeader(ctx, leaseKey(d.incarnation)); err == nil {
		if err := d.nodes.remove(ctx, leaseKey(d.incarnation), e.rev); err != nil {
			d.log.Debug("lease not given back", "error", err)
		}
	}
	d.setGood(time.Time{})
	d.writeSeen(ctx)
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
	begun := time.Now()
	rev, err := d.nodes.swap(ctx, leaseKey(d.incarnation), d.leaseData(), 0, d.config.LeaseTTL)
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
			switch {
			case errors.Is(err, ErrLeaseLost) && ctx.Err() == nil:
				cancel()
				return ErrLeaseLost
			case err == nil:
				rev, end = next, begun.Add(d.config.LeaseTTL)
				d.setGood(end)
			case ctx.Err() == nil:
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
		next, err = d.nodes.swap(ctx, leaseKey(d.incarnation), d.leaseData(), rev, d.config.LeaseTTL)
		if !errors.Is(err, errRevision) {
			return next, err
		}
		// Ours lapsed, or an earlier renewal arrived whose answer did not.
		e, err := d.nodes.getLeader(ctx, leaseKey(d.incarnation))
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
