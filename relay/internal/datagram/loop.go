package datagram

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Loop receives for sockets, until it is closed.
type Loop struct {
	// Static after NewLoop.
	slots   int
	size    int
	batched bool
	gather  time.Duration

	system  polling
	running sync.WaitGroup
}

// NewLoop returns a loop that runs, for sockets that were made with the same How. It receives
// what so many senders send at once, in datagrams of at most size bytes. When datagrams
// come so fast that the last ones came within gather, it waits as long for more: that is
// how late a datagram may be. 0 is not at all.
func NewLoop(slots, size int, how How, gather time.Duration) (*Loop, error) {
	l := &Loop{slots: slots, size: size, batched: how == Auto && canBatch, gather: gather}
	if l.batched {
		return l, l.open()
	}
	return l, nil
}

// Add has handle look at what a socket receives, until the socket is closed. handle is
// not called concurrently for the sockets of a batched loop, and must not wait; the batch
// is its own until it returns. A failure to receive is told to failed.
func (l *Loop) Add(s *Socket, handle func(*Batch), failed func(error)) error {
	if s.batched {
		return l.add(s, handle, failed)
	}
	l.running.Go(func() {
		b := NewBatch(1, l.size)
		for {
			err := b.receiveOne(s.conn)
			switch {
			case err != nil && (s.closed.Load() || errors.Is(err, net.ErrClosed)): // not every network says why
				return
			case err != nil:
				failed(err)
				time.Sleep(time.Millisecond) // rather than as fast as it fails
			default:
				handle(b)
			}
		}
	})
	return nil
}

// Close ends the loop and returns when nothing is handled any more. The sockets must have
// been closed.
func (l *Loop) Close() error {
	var err error
	if l.batched {
		err = l.close()
	}
	l.running.Wait()
	return err
}
