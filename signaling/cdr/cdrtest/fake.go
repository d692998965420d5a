// Package cdrtest has what every store of records of calls promises, as a test, and a
// fake in memory that keeps it.
package cdrtest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"switchboard/signaling/cdr"
)

// Fake keeps records in memory. Its methods may be called concurrently.
type Fake struct {
	mu      sync.Mutex
	records []cdr.Record
	tried   int
	away    bool
}

// New returns an empty one.
func New() *Fake { return &Fake{} }

// Away has every operation fail, or none.
func (f *Fake) Away(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// Write keeps the first record of a call.
func (f *Fake) Write(ctx context.Context, r cdr.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried++
	if err := f.fail(ctx); err != nil {
		return err
	}
	same := func(other cdr.Record) bool { return other.Call == r.Call && other.Created.Equal(r.Created) }
	if !slices.ContainsFunc(f.records, same) {
		r.V = cdr.Version
		f.records = append(f.records, r)
	}
	return nil
}

func (f *Fake) fail(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", cdr.ErrUnavailable, err)
	}
	if f.away {
		return fmt.Errorf("%w: the fake is away", cdr.ErrUnavailable)
	}
	return nil
}

// List returns a page.
func (f *Fake) List(ctx context.Context, q cdr.Query) (p cdr.Page, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fail(ctx); err != nil {
		return p, err
	}
	last := 0
	for i, r := range slices.Backward(f.records) {
		switch seq := i + 1; {
		case q.Before > 0 && uint64(seq) >= q.Before, !q.Matches(&r):
		case len(p.Records) == min(max(q.Limit, 1), cdr.MaxPage):
			p.Next = uint64(last)
			return p, nil
		default:
			p.Records, last = append(p.Records, r), seq
		}
	}
	return p, nil
}

// Records are all that it keeps, in the order in which they were written.
func (f *Fake) Records() []cdr.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.records)
}

// Tried is how often a record was to be written.
func (f *Fake) Tried() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tried
}
