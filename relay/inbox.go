package relay

import (
	"net/netip"
	"sync"
)

// inbox holds messages for the TURN library until it reads them, in the order in which
// they came. Any number of goroutines may put some in; one takes them.
type inbox struct {
	// Static after newInbox.
	most int

	// Guarded by mu.
	mu    sync.Mutex
	some  sync.Cond // told when list or ended changes
	list  []message
	ended bool
}

// message is one from a client, or from a peer.
type message struct {
	data []byte
	from netip.AddrPort
}

// newInbox returns an inbox that holds at most so many messages.
func newInbox(most int) *inbox {
	q := &inbox{most: most}
	q.some.L = &q.mu
	return q
}

// put puts a copy of a message in, and reports false when there is no room.
func (q *inbox) put(data []byte, from netip.AddrPort) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) >= q.most || q.ended {
		return false
	}
	q.list = append(q.list, message{append([]byte(nil), data...), from})
	q.some.Signal()
	return true
}

// take waits for the next message, and reports false when the inbox has been ended: what
// is left in it is lost.
func (q *inbox) take() (message, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.ended {
		q.some.Wait()
	}
	if q.ended {
		return message{}, false
	}
	m := q.list[0]
	q.list[0] = message{}
	q.list = q.list[1:]
	return m, true
}

// end has take return.
func (q *inbox) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended, q.list = true, nil
	q.some.Broadcast()
}
