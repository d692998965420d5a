package signaling

import (
	"sync"
	"sync/atomic"
)

// hands are goroutines that handle frames for the readers of connections. A
// goroutine's stack grows with the deepest call it has made and does not shrink
// below what it holds while it waits; a reader that handled its frames itself
// would keep eight kilobytes for as long as its connection is idle, where
// reading alone needs half.
type hands struct {
	start func(func()) bool // starts a goroutine that its owner waits for
	work  chan func()
	idle  atomic.Int32
	stop  chan struct{} // closed by rest
	rest  func()        // keeps anybody from waiting for work any more
}

// maxIdleHands is how many wait for work with a grown stack.
const maxIdleHands = 64

func newHands(start func(func()) bool) *hands {
	h := &hands{start: start, work: make(chan func()), stop: make(chan struct{})}
	h.rest = sync.OnceFunc(func() { close(h.stop) })
	return h
}

// do runs f on another goroutine and waits for it.
func (h *hands) do(f func()) {
	done := make(chan struct{})
	job := func() {
		defer close(done)
		f()
	}
	select {
	case h.work <- job:
	default:
		if !h.start(func() { h.run(job) }) {
			f() // the owner does not let anything start any more
			return
		}
	}
	<-done
}

// run does one job, and then more if few others wait for any.
func (h *hands) run(job func()) {
	for {
		job()
		if h.idle.Add(1) > maxIdleHands {
			h.idle.Add(-1)
			return
		}
		select {
		case job = <-h.work:
			h.idle.Add(-1)
		case <-h.stop:
			h.idle.Add(-1)
			return
		}
	}
}
