package client

import (
	"context"
	"sync"
)

// callQueue holds the events of a call until the program takes them. It is
// bounded by what a call can bring; a program that takes none loses the oldest
// beyond that.
type callQueue struct {
	mu     sync.Mutex
	events []CallEvent
	ended  error         // why no more come, or nil
	wake   chan struct{} // holds one when there is something to see
}

const maxCallEvents = 1024

func (q *callQueue) init() { q.wake = make(chan struct{}, 1) }

func (q *callQueue) put(e CallEvent) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended != nil {
		return
	}
	if len(q.events) >= maxCallEvents {
		q.events = q.events[1:]
	}
	q.events = append(q.events, e)
	q.signal()
}

// close ends the queue once what is in it has been taken.
func (q *callQueue) close(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended == nil {
		q.ended = why
	}
	q.signal()
}

func (q *callQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns the oldest event, or why no more come, or neither.
func (q *callQueue) take() (CallEvent, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) == 0 {
		return nil, q.ended
	}
	e := q.events[0]
	q.events = q.events[1:]
	return e, nil
}

func (q *callQueue) next(ctx context.Context) (CallEvent, error) {
	for {
		e, err := q.take()
		if e != nil || err != nil {
			q.signal() // for others who wait
			return e, err
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
