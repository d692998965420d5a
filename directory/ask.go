package directory

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// Request is what one node asks of another.
type Request struct {
	Kind    string // a word of a-z
	Account Account
	Data    []byte
}

const (
	// askWorkers handle requests in parallel, each account's by one of them.
	askWorkers = 8
	// askQueue is how many requests may wait for one of them; more are refused
	// at once, and whoever asks hears so.
	askQueue = 1024
)

const headerError = "Switchboard-Error"

// Ask sends a request to a node and returns its answer. [ErrGone] says that
// the node is no more; an error that the node's handler returned comes back as
// text.
func (d *Directory) Ask(ctx context.Context, node string, r Request) ([]byte, error) {
	if !validNode(node) {
		return nil, ErrGone
	}
	ctx, cancel := context.WithTimeout(ctx, d.config.RequestTimeout)
	defer cancel()
	m, err := d.nc.RequestWithContext(ctx, "node."+node+"."+r.Kind+"."+string(r.Account), r.Data)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("ask: %w", ErrGone)
	case err != nil:
		return nil, fmt.Errorf("ask: %w", unavailable(err))
	}
	if text := m.Header.Get(headerError); text != "" {
		return nil, fmt.Errorf("ask: the node says: %s", text)
	}
	return m.Data, nil
}

// Answer sets who handles the requests of other nodes. Those of one account
// are handled one after the other. It must be called before [Directory.Run].
func (d *Directory) Answer(h func(ctx context.Context, r Request) ([]byte, error)) { d.answer = h }

// serve subscribes to the node's subject and starts the workers; the function
// that it returns ends both.
func (d *Directory) serve() (func(), error) {
	var workers sync.WaitGroup
	queues := make([]chan *nats.Msg, askWorkers)
	ctx, cancel := context.WithCancel(context.Background())
	for i := range queues {
		queues[i] = make(chan *nats.Msg, askQueue)
		workers.Go(func() { d.work(ctx, queues[i]) })
	}
	seed := maphash.MakeSeed()
	sub, err := d.nc.Subscribe("node."+d.incarnation+".*.*", func(m *nats.Msg) {
		account := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
		select {
		case queues[maphash.String(seed, account)%askWorkers] <- m:
		default:
			d.respond(m, nil, errors.New("too many requests wait"))
		}
	})
	endWorkers := func() {
		cancel()
		workers.Wait()
	}
	if err != nil {
		endWorkers()
		return nil, unavailable(err)
	}
	return func() {
		if err := sub.Unsubscribe(); err != nil {
			d.log.Debug("node's subject not left", "error", err)
		}
		endWorkers()
	}, nil
}

func (d *Directory) work(ctx context.Context, queue <-chan *nats.Msg) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-queue:
			parts := strings.Split(m.Subject, ".")
			if d.answer == nil {
				d.respond(m, nil, errors.New("nobody answers here"))
				continue
			}
			data, err := d.answer(ctx, Request{Kind: parts[2], Account: Account(parts[3]), Data: m.Data})
			d.respond(m, data, err)
		}
	}
}

func (d *Directory) respond(m *nats.Msg, data []byte, err error) {
	reply := nats.NewMsg(m.Reply)
	reply.Data = data
	if err != nil {
		reply.Header.Set(headerError, err.Error())
	}
	if err := m.RespondMsg(reply); err != nil {
		d.log.Debug("request not answered", "error", err)
	}
}
