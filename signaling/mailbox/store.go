package mailbox

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of what one Store has under way, so that a storm waits here instead of
// overrunning the server: it drops every waiting API request at 10,000, and
// disconnects a client that is behind by 64 MiB.
const (
	maxPuts   = 256     // calls of Put, of at most putWindow entries each
	putWindow = 64      // entries of one Put
	maxReads  = 32      // answers of at most about readBytes each
	readBytes = 1 << 20 // after which the server ends a batch
	maxAPI    = 256     // requests to the JetStream API
)

// Store is the mailboxes of all devices. It is safe for concurrent use, and a
// [prometheus.Collector] of its own metrics.
type Store struct {
	// Static after Open.
	c          Config
	in         *inbox
	api        string // prefix of API subjects, with a dot at the end
	replicated bool   // reads of any replica may be stale
	*metrics

	// Semaphores.
	puts, reads, calls chan struct{}
}

// Open makes the streams, or checks those that are there, and subscribes to
// answers. It returns [ErrStreams] when the data lies in another number of
// streams, and changes the streams when their limits differ from c.
func Open(ctx context.Context, js jetstream.JetStream, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("mailbox: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, max(c.Timeout, openTimeout))
	defer cancel()
	replicas, err := prepare(ctx, js, c)
	if err != nil {
		return nil, fmt.Errorf("open mailboxes: %w", err)
	}
	in, err := newInbox(js.Conn())
	if err != nil {
		return nil, fmt.Errorf("open mailboxes: %w", err)
	}
	return newStore(c, in, apiPrefix(js.Options()), replicas > 1), nil
}

func newStore(c Config, in *inbox, api string, replicated bool) *Store {
	return &Store{
		c: c, in: in, api: api, replicated: replicated,
		metrics: newMetrics(in.pending),
		puts:    make(chan struct{}, maxPuts), reads: make(chan struct{}, maxReads), calls: make(chan struct{}, maxAPI),
	}
}

// Close ends the subscription. Operations under way, and later ones, fail with
// [ErrUnavailable] when their time is over.
func (s *Store) Close() error { return s.in.close() }

// Tail returns the sequence number of the newest item in b as the leader has
// it, 0 when the box is empty.
func (s *Store) Tail(ctx context.Context, b Box) (seq uint64, err error) {
	defer s.observe(opTail)(&err)
	if err := b.Check(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	seq, err = s.tail(ctx, b)
	return seq, wrap("mailbox tail", err)
}

// Count returns how many items wait in b, as the leader has it. It is for
// operators: it costs the server more than [Store.Tail].
func (s *Store) Count(ctx context.Context, b Box) (n int, err error) {
	defer s.observe(opCount)(&err)
	if err := b.Check(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	n, err = s.count(ctx, b)
	return n, wrap("mailbox count", err)
}

// Ack removes every item of b up to and including upto. It may be repeated.
// upto must come from a [Store.Read] of which everything was handled.
func (s *Store) Ack(ctx context.Context, b Box, upto uint64) (err error) {
	defer s.observe(opAck)(&err)
	if err := b.Check(); err != nil || upto == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	return wrap("mailbox ack", s.purge(ctx, b, next(upto)))
}

// Drop removes every item of b. A box needs no making, so a later [Store.Put]
// fills it again.
func (s *Store) Drop(ctx context.Context, b Box) (err error) {
	defer s.observe(opDrop)(&err)
	if err := b.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	return wrap("mailbox drop", s.purge(ctx, b, math.MaxUint64))
}

// DropAccount removes every item of every box of an account.
func (s *Store) DropAccount(ctx context.Context, account string) (err error) {
	defer s.observe(opDrop)(&err)
	b := Box{Account: account, Device: 1}
	if err := b.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	return wrap("mailbox drop account", s.purgeFrom(ctx, s.stream(b), purgeRequest{b.allSubjects(), math.MaxUint64}))
}

func (s *Store) stream(b Box) string { return streamName(streamOf(shardOf(b.Account), s.c.Streams)) }

// acquire takes a place in a semaphore.
func acquire(ctx context.Context, sem chan struct{}) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err // even if there is a place
	}
	select {
	case sem <- struct{}{}:
		return func() { <-sem }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wrap turns what went wrong below into one of the errors of this package, with
// its cause. A context that was cancelled is nobody's failure and stays itself.
func wrap(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrFull), errors.Is(err, ErrConflict), errors.Is(err, ErrTooLarge), errors.Is(err, ErrInvalid), errors.Is(err, ErrUnavailable),
		errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}
