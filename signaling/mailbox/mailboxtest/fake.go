package mailboxtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"switchboard/signaling/mailbox"
)

// Fake is mailboxes in memory. It is safe for concurrent use.
type Fake struct {
	c mailbox.Config

	mu    sync.Mutex
	fail  error
	last  uint64 // newest sequence number, of all boxes
	boxes map[mailbox.Box][]item
	known map[key]first
}

type item struct {
	mailbox.Item
	expires time.Time
}

type key struct {
	box mailbox.Box
	id  string
}

// first is where the first item of a key went.
type first struct {
	seq uint64
	at  time.Time
	sum string
}

// New returns empty mailboxes with the default limits.
func New() *Fake { return NewWith(mailbox.Default()) }

// NewWith returns empty mailboxes with the limits of c.
func NewWith(c mailbox.Config) *Fake {
	return &Fake{c: c, boxes: map[mailbox.Box][]item{}, known: map[key]first{}}
}

// Fail makes every operation return err, until it is called with nil.
// [mailbox.ErrUnavailable] is what it is for.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// Put is as [mailbox.Store.Put].
func (f *Fake) Put(ctx context.Context, entries ...mailbox.Entry) ([]uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seqs := make([]uint64, len(entries))
	if err := f.check(ctx, entries); err != nil {
		return seqs, fmt.Errorf("mailbox put: %w", err)
	}
	var errs []error
	for i, e := range entries {
		var err error
		if seqs[i], err = f.put(e); err != nil {
			errs = append(errs, &mailbox.EntryError{Index: i, Err: fmt.Errorf("mailbox put: %w", err)})
		}
	}
	return seqs, errors.Join(errs...)
}

func (f *Fake) check(ctx context.Context, entries []mailbox.Entry) error {
	var errs []error
	for i, e := range entries {
		if err := e.Check(f.c); err != nil {
			errs = append(errs, &mailbox.EntryError{Index: i, Err: err})
		}
	}
	return cmp.Or(errors.Join(errs...), f.ready(ctx))
}

// ready tells why nothing can be done.
func (f *Fake) ready(ctx context.Context) error {
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", mailbox.ErrUnavailable, err)
	} else if err != nil {
		return err
	}
	return f.fail
}

func (f *Fake) put(e mailbox.Entry) (uint64, error) {
	now := time.Now()
	k := key{e.Box, e.ID}
	box := f.live(e.Box)
	if was, ok := f.known[k]; ok && now.Sub(was.at) < mailbox.Window {
		there := slices.ContainsFunc(box, func(it item) bool { return it.Seq == was.seq })
		if there && e.Sum != "" && was.sum != "" && e.Sum != was.sum {
			return 0, mailbox.ErrConflict
		}
		return was.seq, nil
	}
	if len(box) >= f.c.Items {
		return 0, mailbox.ErrFull
	}
	f.last++
	life := cmp.Or(e.Life(f.c), f.c.Age)
	it := mailbox.Item{Seq: f.last, Data: slices.Clone(e.Data), Time: now}
	f.boxes[e.Box] = append(box, item{it, now.Add(life)})
	f.known[k] = first{f.last, now, e.Sum}
	return f.last, nil
}

// live is the box without the items whose life is over.
func (f *Fake) live(b mailbox.Box) []item {
	now := time.Now()
	f.boxes[b] = slices.DeleteFunc(f.boxes[b], func(it item) bool { return !now.Before(it.expires) })
	return f.boxes[b]
}

// Read is as [mailbox.Store.Read].
func (f *Fake) Read(ctx context.Context, b mailbox.Box, after uint64, limit int) (items []mailbox.Item, more bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmp.Or(b.Check(), f.ready(ctx)); err != nil {
		return nil, false, fmt.Errorf("mailbox read: %w", err)
	}
	if limit < 1 || limit > mailbox.MaxBatch {
		limit = mailbox.MaxBatch
	}
	for _, it := range f.live(b) {
		if it.Seq <= after {
			continue
		}
		if len(items) == limit {
			return items, true, nil
		}
		it.Data = slices.Clone(it.Data)
		items = append(items, it.Item)
	}
	return items, false, nil
}

// Tail is as [mailbox.Store.Tail].
func (f *Fake) Tail(ctx context.Context, b mailbox.Box) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmp.Or(b.Check(), f.ready(ctx)); err != nil {
		return 0, fmt.Errorf("mailbox tail: %w", err)
	}
	box := f.live(b)
	if len(box) == 0 {
		return 0, nil
	}
	return box[len(box)-1].Seq, nil
}

// Count is as [mailbox.Store.Count].
func (f *Fake) Count(ctx context.Context, b mailbox.Box) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmp.Or(b.Check(), f.ready(ctx)); err != nil {
		return 0, fmt.Errorf("mailbox count: %w", err)
	}
	return len(f.live(b)), nil
}

// Ack is as [mailbox.Store.Ack].
func (f *Fake) Ack(ctx context.Context, b mailbox.Box, upto uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmp.Or(b.Check(), f.ready(ctx)); err != nil {
		return fmt.Errorf("mailbox ack: %w", err)
	}
	f.boxes[b] = slices.DeleteFunc(f.boxes[b], func(it item) bool { return it.Seq <= upto })
	return nil
}

// Drop is as [mailbox.Store.Drop].
func (f *Fake) Drop(ctx context.Context, b mailbox.Box) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmp.Or(b.Check(), f.ready(ctx)); err != nil {
		return fmt.Errorf("mailbox drop: %w", err)
	}
	delete(f.boxes, b)
	return nil
}
