package cdr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// window is how many records are read at a time on the way back through the
	// stream, and maxScan how many for one page.
	window  = 500
	maxScan = 20_000
	// lateFor is how long after the end of its call a record may have been written,
	// and more.
	lateFor = time.Hour
	// skew is how much the clocks of nodes, by which calls end, may be ahead of that of
	// the server.
	skew = time.Minute
)

// List returns a page of the records that are wanted, newest first. Records of an
// account and of a call are found without looking at others, as long as an account
// has at most 1,024; else, and for whatever else is asked, it looks back through at
// most 20,000 records and says where to go on. Records that cannot be read, as of a
// newer version, are left out. Errors are [ErrUnavailable].
func (s *Store) List(ctx context.Context, q Query) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	p, err := s.list(ctx, q)
	if err != nil {
		return Page{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return p, nil
}

func (s *Store) list(ctx context.Context, q Query) (Page, error) {
	if f := q.filters(); f != nil {
		p, err := s.found(ctx, q, f)
		if !errors.Is(err, errTooMany) {
			return p, err
		}
	}
	return s.back(ctx, q)
}

// found returns a page of those records whose subjects match.
func (s *Store) found(ctx context.Context, q Query, filters []string) (Page, error) {
	var all []stored
	for from, more := uint64(1), true; more; {
		var got []stored
		var err error
		if got, more, err = s.ask(ctx, getRequest{Seq: from, Last: filters, Batch: batch}); err != nil {
			return Page{}, err
		}
		if len(got) == 0 {
			break
		}
		all, from = append(all, got...), got[len(got)-1].seq+1
	}
	c := collector{q: q}
	for _, m := range slices.Backward(all) {
		if q.Before > 0 && m.seq >= q.Before {
			continue
		}
		if !c.take(m) {
			break
		}
	}
	return c.page, nil
}

// back looks back through the stream.
func (s *Store) back(ctx context.Context, q Query) (Page, error) {
	stream, err := s.js.Stream(ctx, streamName)
	if err != nil {
		return Page{}, err
	}
	state := stream.CachedInfo().State
	upper, err := s.upper(ctx, q, state.LastSeq+1) // the first that is not looked at
	if err != nil {
		return Page{}, err
	}
	c, begun := collector{q: q}, time.Now()
	for scanned := uint64(0); upper > max(state.FirstSeq, 1); scanned += s.window {
		if scanned >= s.maxScan || time.Since(begun) > s.config.Timeout/2 {
			c.page.Next = upper
			return c.page, nil
		}
		lower := max(state.FirstSeq, 1)
		if upper > lower+s.window {
			lower = upper - s.window
		}
		got, err := s.between(ctx, lower, upper)
		if err != nil {
			return Page{}, err
		}
		for _, m := range slices.Backward(got) {
			if !c.take(m) {
				return c.page, nil
			}
		}
		upper = lower
	}
	return c.page, nil
}

// upper returns where to begin to look back.
func (s *Store) upper(ctx context.Context, q Query, end uint64) (uint64, error) {
	if q.Before > 0 {
		end = min(end, q.Before)
	}
	if q.Until.IsZero() {
		return end, nil
	}
	late := q.Until.Add(lateFor)
	got, _, err := s.ask(ctx, getRequest{StartTime: &late, Next: anyRecord, Batch: 1})
	if err != nil || len(got) == 0 {
		return end, err
	}
	return min(end, got[0].seq), nil
}

// between reads the messages from lower on, before upper.
func (s *Store) between(ctx context.Context, lower, upper uint64) (all []stored, err error) {
	for more := true; more && lower < upper; {
		var got []stored
		if got, more, err = s.ask(ctx, getRequest{Seq: lower, Next: anyRecord, Batch: int(min(upper-lower, s.window))}); err != nil {
			return nil, err
		}
		if len(got) == 0 {
			break
		}
		all, lower = append(all, got...), got[len(got)-1].seq+1
	}
	beyond := slices.IndexFunc(all, func(m stored) bool { return m.seq >= upper })
	if beyond >= 0 {
		all = all[:beyond]
	}
	return all, nil
}

// collector fills a page from messages, the newest first.
type collector struct {
	q    Query
	page Page
	last uint64 // the number of the last record in the page
}

// take adds a message, if it is wanted, and reports whether to go on.
func (c *collector) take(m stored) bool {
	if !c.q.Since.IsZero() && m.at.Before(c.q.Since.Add(-skew)) {
		return false // records are written after the end of their calls
	}
	r, err := decode(m.data)
	if err != nil || !c.q.Matches(&r) {
		return true
	}
	if len(c.page.Records) == c.q.size() {
		c.page.Next = c.last
		return false
	}
	c.page.Records, c.last = append(c.page.Records, r), m.seq
	return true
}
