package directory

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// replies takes answers that come in several messages. One subscription serves
// all requests: subscribing for each costs seven times as much.
type replies struct {
	nc     *nats.Conn
	prefix string
	sub    *nats.Subscription

	mu   sync.Mutex
	next uint64
	open map[string]*answer
}

type answer struct {
	msgs []*nats.Msg
	done chan struct{} // closed when the last one has come
}

func newReplies(nc *nats.Conn) (*replies, error) {
	r := &replies{nc: nc, prefix: nc.NewRespInbox() + ".", open: map[string]*answer{}}
	var err error
	r.sub, err = nc.Subscribe(r.prefix+"*", r.receive)
	return r, err
}

func (r *replies) close() error { return r.sub.Unsubscribe() }

func (r *replies) receive(m *nats.Msg) {
	token := strings.TrimPrefix(m.Subject, r.prefix)
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.open[token]
	if a == nil {
		return // nobody waits any more
	}
	status := m.Header.Get("Status") // what is stored has none
	if status != "204" && status != "404" {
		a.msgs = append(a.msgs, m)
	}
	if status != "" || len(m.Header) == 0 {
		delete(r.open, token)
		close(a.done)
	}
}

// collect sends a request and returns its answers, but for the mark of their
// end.
func (r *replies) collect(ctx context.Context, subject string, data []byte) ([]*nats.Msg, error) {
	a := &answer{done: make(chan struct{})}
	r.mu.Lock()
	r.next++
	token := strconv.FormatUint(r.next, 36)
	r.open[token] = a
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.open, token)
		r.mu.Unlock()
	}()
	if err := r.nc.PublishRequest(subject, r.prefix+token, data); err != nil {
		return nil, err
	}
	select {
	case <-a.done:
		return a.msgs, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
