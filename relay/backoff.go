package relay

import "time"

// backoff is how long to wait before trying again what the machine refuses for
// now, such as a socket when all files are in use.
type backoff struct{ next time.Duration }

const maxBackoff = time.Second

// wait waits, longer each time, or until end is closed.
func (b *backoff) wait(end <-chan struct{}) {
	b.next = min(max(2*b.next, time.Millisecond), maxBackoff)
	t := time.NewTimer(b.next)
	defer t.Stop()
	select {
	case <-t.C:
	case <-end:
	}
}

// reset is called when it worked.
func (b *backoff) reset() { b.next = 0 }
