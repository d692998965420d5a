package mailbox

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// inbox takes the answers to all requests through one wildcard subscription.
// A subscription per request, as libraries do it for answers of many messages,
// costs seven times as much.
type inbox struct {
	// Static after newInbox.
	nc     *nats.Conn
	prefix string // ends with a dot; a request's token follows
	sub    *nats.Subscription

	mu      sync.Mutex
	last    uint64              // token of the newest request
	waiting map[string]*request // by token
}

// request is a question on its way. Its fields belong to the inbox until done
// is closed or forget has returned.
type request struct {
	token string
	whole func(*nats.Msg) bool // tells the last message of the answer
	msgs  []*nats.Msg
	done  chan struct{}
}

func newInbox(nc *nats.Conn) (*inbox, error) {
	in := &inbox{nc: nc, prefix: nc.NewInbox() + ".", waiting: map[string]*request{}}
	sub, err := nc.Subscribe(in.prefix+"*", in.receive)
	if err != nil {
		return nil, err
	}
	in.sub = sub
	return in, nil
}

// close ends the subscription. Requests under way wait for their contexts.
func (in *inbox) close() error { return in.sub.Unsubscribe() }

// one says that the answer is a single message.
func one(*nats.Msg) bool { return true }

// send asks, without waiting. The caller must await or forget the request.
func (in *inbox) send(m *nats.Msg, whole func(*nats.Msg) bool) (*request, error) {
	r := &request{whole: whole, done: make(chan struct{})}
	in.mu.Lock()
	in.last++
	r.token = strconv.FormatUint(in.last, 36)
	in.waiting[r.token] = r
	in.mu.Unlock()
	m.Reply = in.prefix + r.token
	if err := in.nc.PublishMsg(m); err != nil {
		in.forget(r)
		return nil, err
	}
	return r, nil
}

// await returns the whole answer, or the context's error and nothing.
func (in *inbox) await(ctx context.Context, r *request) ([]*nats.Msg, error) {
	select {
	case <-r.done:
		return r.msgs, nil
	case <-ctx.Done():
		in.forget(r)
		return nil, ctx.Err()
	}
}

func (in *inbox) forget(r *request) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.waiting, r.token)
}

// receive runs in the subscription's goroutine, one message after the other.
// An answer that nobody waits for any more is dropped.
func (in *inbox) receive(m *nats.Msg) {
	token := strings.TrimPrefix(m.Subject, in.prefix)
	in.mu.Lock()
	defer in.mu.Unlock()
	r, ok := in.waiting[token]
	if !ok {
		return
	}
	r.msgs = append(r.msgs, m)
	if r.whole(m) {
		delete(in.waiting, token)
		close(r.done)
	}
}

// pending is the number of requests under way.
func (in *inbox) pending() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.waiting)
}
