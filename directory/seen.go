package directory

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// seenEvery is how often it is written down who has left.
	seenEvery = time.Second
	// seenAtOnce is how many of them are written at the same time.
	seenAtOnce = 32
)

// left notes that a device of the account has gone. [Directory.Run] writes it
// down soon, once for many.
func (d *Directory) left(a Account, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting[a] = at
}

// leftLately is when a device of the account left, if that is yet to be written
// down.
func (d *Directory) leftLately(a Account) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting[a]
}

// lastSeen tells when the last device of an account left; zero if that is not
// known.
func (d *Directory) lastSeen(ctx context.Context, a Account) (time.Time, error) {
	if at := d.leftLately(a); !at.IsZero() {
		return at, nil
	}
	e, err := d.seen.get(ctx, string(a))
	if errors.Is(err, ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	r, err := decodeSeen(e.data)
	return r.At, err
}

// keepSeen writes down who has left, until ctx ends.
func (d *Directory) keepSeen(ctx context.Context) error {
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

// writeSeen writes down who has left since the last time. What cannot be
// written stays for the next time.
func (d *Directory) writeSeen(ctx context.Context) {
	d.mu.Lock()
	batch := maps.Clone(d.waiting)
	d.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(seenAtOnce)
	for a, at := range batch {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			if err := d.noteSeen(ctx, a, at); err != nil {
				return err
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.waiting[a].Equal(at) {
				delete(d.waiting, a)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		d.log.Warn("last seen not written", "error", err)
	}
}

// noteSeen writes down that an account was last seen at a time, unless it is
// online now or was seen later.
func (d *Directory) noteSeen(ctx context.Context, a Account, at time.Time) error {
	have, err := d.bindings(ctx, a)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(have, func(b Binding) bool { return d.alive(b.Node) }) {
		return nil // its own end will be noted
	}
	data, err := json.Marshal(seenRecord{V: recordVersion, At: at})
	if err != nil {
		return err
	}
	for range maxTries {
		rev := uint64(0)
		e, err := d.seen.getLeader(ctx, string(a))
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return err
		default:
			// What cannot be read is left as it is.
			if r, err := decodeSeen(e.data); err != nil || !r.At.Before(at) {
				return nil
			}
			rev = e.rev
		}
		rev, err = d.seen.swap(ctx, string(a), data, rev, 0)
		if err == nil {
			err = d.unlessDeleted(ctx, a, func(ctx context.Context) error { return d.seen.remove(ctx, string(a), rev) })
			return ignoreNotFound(err)
		}
		if !errors.Is(err, errRevision) {
			return err
		}
	}
	return ErrConflict
}
