package callstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Store is the records of all calls. It is safe for concurrent use, and a
// [prometheus.Collector] of its own metrics.
type Store struct {
	// Static after Open.
	c          Config
	nc         *nats.Conn
	api        string // prefix of API subjects, with a dot at the end
	replicated bool   // reads of any replica may be stale
	publish    func(context.Context, *nats.Msg, ...jetstream.PublishOpt) (*jetstream.PubAck, error)
	*metrics

	calls chan struct{} // semaphore
}

// maxCalls bounds what one Store has under way: a server drops every waiting
// API request when 10,000 of them wait.
const maxCalls = 256

// Open makes the bucket, or checks the one that is there.
func Open(ctx context.Context, js jetstream.JetStream, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("callstore: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, max(c.Timeout, openTimeout))
	defer cancel()
	made, err := prepare(ctx, js, c)
	if err != nil {
		return nil, fmt.Errorf("open call records: %w", err)
	}
	return &Store{
		c: c, nc: js.Conn(), api: apiPrefix(js.Options()), replicated: made.Replicas > 1,
		publish: js.PublishMsg, metrics: newMetrics(), calls: make(chan struct{}, maxCalls),
	}, nil
}

// Create stores a new record that lives for ttl, in whole seconds rounded up.
// It returns the record's revision, or [ErrExists], [ErrTooLarge],
// [ErrUnavailable].
func (s *Store) Create(ctx context.Context, key string, data []byte, ttl time.Duration) (rev uint64, err error) {
	defer s.observe(opCreate)(&err)
	if err := CheckRecord(s.c, key, data, ttl); err != nil {
		return 0, fmt.Errorf("create call record: %w", err)
	}
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return 0, wrap("create call record", err)
	}
	defer done()
	rev, err = s.create(ctx, s.record(key, data, ttl))
	return rev, wrap("create call record", err)
}

// create stores m where nothing is, or where only the trace of a record is that
// is gone. Those may succeed each other, so it tries a few times.
func (s *Store) create(ctx context.Context, m *nats.Msg) (uint64, error) {
	var expect uint64
	for range maxTries {
		rev, err := s.swap(ctx, m, expect)
		if !errors.Is(err, ErrConflict) {
			return rev, err
		}
		e, err := s.last(ctx, m.Subject)
		if err != nil {
			return 0, err
		}
		if e.live {
			return 0, ErrExists
		}
		expect = e.rev
	}
	return 0, fmt.Errorf("%w: the key keeps changing", ErrUnavailable)
}

// Load returns a record and its revision, as they are after every change that
// was done before. It returns [ErrNotFound] or [ErrUnavailable].
func (s *Store) Load(ctx context.Context, key string) (data []byte, rev uint64, err error) {
	defer s.observe(opLoad)(&err)
	if err := CheckKey(key); err != nil {
		return nil, 0, fmt.Errorf("load call record: %w", err)
	}
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, 0, wrap("load call record", err)
	}
	defer done()
	e, err := s.last(ctx, s.subject(key))
	if err == nil && !e.live {
		err = ErrNotFound
	}
	if err != nil {
		return nil, 0, wrap("load call record", err)
	}
	return e.data, e.rev, nil
}

// Save replaces the record that has the revision rev; it lives for ttl from
// now. It returns the new revision, or [ErrConflict], also when the record is
// gone, [ErrTooLarge], [ErrUnavailable].
func (s *Store) Save(ctx context.Context, key string, data []byte, rev uint64, ttl time.Duration) (next uint64, err error) {
	defer s.observe(opSave)(&err)
	if err := CheckRecord(s.c, key, data, ttl); err != nil {
		return 0, fmt.Errorf("save call record: %w", err)
	}
	next, err = s.replace(ctx, s.record(key, data, ttl), rev)
	return next, wrap("save call record", err)
}

// Delete removes the record that has the revision rev. It returns
// [ErrConflict], also when the record is gone, or [ErrUnavailable].
func (s *Store) Delete(ctx context.Context, key string, rev uint64) (err error) {
	defer s.observe(opDelete)(&err)
	if err := CheckKey(key); err != nil {
		return fmt.Errorf("delete call record: %w", err)
	}
	_, err = s.replace(ctx, s.tombstone(key), rev)
	return wrap("delete call record", err)
}

// Keys lists the keys that begin with prefix, which ends with a dot, in no order.
// Records that are gone may be among them for a moment; beyond 100,000, which NATS
// tells in parts, some that are there may be missing if others go meanwhile. NATS looks at every key
// for it: it is for rare occasions, such as the death of a node. It returns
// [ErrUnavailable], or [ErrTooMany] beyond [MaxKeys].
func (s *Store) Keys(ctx context.Context, prefix string) (keys []string, err error) {
	defer s.observe(opKeys)(&err)
	if err := CheckPrefix(prefix); err != nil {
		return nil, fmt.Errorf("list call records: %w", err)
	}
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, wrap("list call records", err)
	}
	defer done()
	for {
		page, all, err := s.page(ctx, s.subject(prefix)+">", len(keys))
		if err != nil {
			return nil, wrap("list call records", err)
		}
		for _, subject := range page {
			keys = append(keys, strings.TrimPrefix(subject, s.subject("")))
		}
		switch {
		case len(page) == 0 || len(keys) >= all:
			return keys, nil
		case len(keys) > MaxKeys:
			return nil, fmt.Errorf("list call records: %w", ErrTooMany)
		}
	}
}

// MaxKeys bounds what [Store.Keys] returns.
const MaxKeys = 1 << 20

// replace puts m in the place of revision rev. Revision 0 is nobody's.
func (s *Store) replace(ctx context.Context, m *nats.Msg, rev uint64) (uint64, error) {
	if rev == 0 {
		return 0, ErrConflict
	}
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	return s.swap(ctx, m, rev)
}

// begin takes a place among the operations under way and bounds their time.
func (s *Store) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	select {
	case s.calls <- struct{}{}:
		return ctx, func() { <-s.calls; cancel() }, nil
	case <-ctx.Done():
		defer cancel()
		return nil, nil, ctx.Err()
	}
}

// wrap turns what went wrong below into one of the errors of this package, with
// its cause. A context that was cancelled is nobody's failure and stays itself.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{ErrExists, ErrNotFound, ErrConflict, ErrTooLarge, ErrTooMany, ErrUnavailable, context.Canceled} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}
