package push

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// consumer is the one that all nodes take from.
	consumer = "push"
	// againMost is the longest wait between two attempts.
	againMost = 10 * time.Minute
	// consumeAgain is the wait before the queue is taken up anew.
	consumeAgain = 2 * time.Second
)

// Run brings pushes to where they go until ctx ends. What was under way then is
// waited for; what was not finished is brought by another node, or later.
func (q *Queue) Run(ctx context.Context) error {
	for {
		err := q.consume(ctx)
		if ctx.Err() != nil {
			return nil
		}
		q.log.Warn("push queue is taken up anew", "error", err)
		if !pause(ctx, consumeAgain) {
			return nil
		}
	}
}

func (q *Queue) consume(ctx context.Context) error {
	octx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c, err := q.js.CreateOrUpdateConsumer(octx, streamQueue, jetstream.ConsumerConfig{
		Durable: consumer, AckPolicy: jetstream.AckExplicitPolicy,
		// Longer than an attempt with all that belongs to it, so that nobody
		// else begins the same.
		AckWait: q.config.Timeout + 2*requestTimeout, MaxDeliver: -1, MaxAckPending: 4096,
	})
	if err != nil {
		return err
	}
	it, err := c.Messages(jetstream.PullMaxMessages(q.config.Workers), jetstream.PullExpiry(requestTimeout))
	if err != nil {
		return err
	}
	defer it.Stop()
	stop := context.AfterFunc(ctx, it.Stop)
	defer stop()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	places := make(chan struct{}, q.config.Workers)
	for {
		m, err := it.Next()
		if err != nil {
			return err
		}
		places <- struct{}{}
		tasks.Go(func() {
			defer func() { <-places }()
			q.handle(context.WithoutCancel(ctx), m)
		})
	}
}

// handle tries once and decides what becomes of the push.
func (q *Queue) handle(ctx context.Context, m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(ctx, q.config.Timeout+requestTimeout)
	defer cancel()
	tried := 1
	if meta, err := m.Metadata(); err == nil {
		tried = int(meta.NumDelivered)
	}
	j, err := decodeJob(m.Data())
	if err != nil {
		q.bury(ctx, m, j, tried, fmt.Errorf("%w: %w", ErrRefused, err))
		return
	}
	if !time.Now().Before(j.Expires) {
		q.done(j, "expired")
		q.settle(m.Term())
		return
	}
	s := q.senders[j.Target.Kind]
	if s == nil {
		q.bury(ctx, m, j, tried, fmt.Errorf("%w: %s is turned off", ErrRefused, j.Target.Kind))
		return
	}
	began := time.Now()
	err = s.send(ctx, j)
	q.metrics.took.WithLabelValues(string(j.Target.Kind)).Observe(time.Since(began).Seconds())
	switch wait := q.backOff(tried); {
	case err == nil:
		q.done(j, "taken")
		q.settle(m.DoubleAck(ctx))
	case errors.Is(err, ErrGone):
		q.gone(ctx, Device{j.Account, j.Device}, j.Target)
		q.bury(ctx, m, j, tried, err)
	case errors.Is(err, ErrRefused), tried >= q.config.Attempts, !time.Now().Add(wait).Before(j.Expires):
		q.bury(ctx, m, j, tried, err)
	default:
		q.done(j, "again")
		q.settle(m.NakWithDelay(wait))
	}
}

// backOff is the wait after so many attempts: it doubles with each.
func (q *Queue) backOff(tried int) time.Duration {
	most := min(q.again<<min(tried, 16), againMost)
	return most/2 + rand.N(most/2)
}

// bury keeps a push for operators that could not be brought, and takes it out
// of the queue. If it cannot be kept, it stays in the queue.
func (q *Queue) bury(ctx context.Context, m jetstream.Msg, j job, tried int, why error) {
	if err := q.keep(ctx, j, tried, why); err != nil {
		q.log.Warn("push not kept for operators", "error", err)
		q.settle(m.NakWithDelay(q.backOff(tried)))
		return
	}
	how := "given_up"
	switch {
	case errors.Is(why, ErrGone):
		how = "gone"
	case errors.Is(why, ErrRefused):
		how = "refused"
	}
	q.done(j, how)
	q.settle(m.TermWithReason(how))
}

func (q *Queue) done(j job, how string) {
	q.metrics.done.WithLabelValues(kindLabel(j.Target.Kind), how).Inc()
}

// settle notes that the queue could not be told; it asks again later.
func (q *Queue) settle(err error) {
	if err != nil {
		q.log.Debug("push will be brought twice", "error", err)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
