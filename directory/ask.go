package directory

import (
	"cmp"
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
	Kind    string  // a word of a-z, 0-9 and -
	Account Account // empty for a request to the node itself
	Data    []byte
}

// noAccount stands in a subject where a request is of no account.
const noAccount = "-"

const (
	// askWorkers handle requests in parallel, each account's by one of them.
	askWorkers = 8
	// askQueue is how many requests may wait for one of them; more are refused
	// at once, and whoever asks hears so.
	askQueue = 1024
)

// Headers of an answer that is none.
const (
	headerError = "Switchboard-Error" // what the handler's error says
	headerFault = "Switchboard-Fault" // why no handler was asked: faultBusy, faultGone
)

const (
	faultBusy = "busy" // too many requests wait
	faultGone = "gone" // the node is about to end
)

// Ask sends a request to a node and returns its answer. [ErrGone] says that
// the node is no more, [ErrUnavailable] that it did not answer in time, or has
// too much to do; an error that the node's handler returned comes back as
// text. [ErrNotFound] says that the request's account cannot be one; one without
// an account is to the node itself.
func (d *Directory) Ask(ctx context.Context, node string, r Request) (_ []byte, err error) {
	defer d.metrics.observe(opAsk)(&err)
	if !validNode(node) {
		return nil, wrap("ask", ErrGone)
	}
	if !validNode(r.Kind) || r.Account != "" && !r.Account.Valid() {
		return nil, wrap("ask", ErrNotFound)
	}
	ctx, cancel := context.WithTimeout(ctx, d.config.RequestTimeout)
	defer cancel()
	m, err := d.nc.RequestWithContext(ctx, nodeSubject(node, r.Kind, cmp.Or(string(r.Account), noAccount)), r.Data)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, wrap("ask", ErrGone)
	case err != nil:
		return nil, wrap("ask", unavailable(err))
	}
	switch fault := m.Header.Get(headerFault); fault {
	case "":
	case faultGone:
		return nil, wrap("ask", ErrGone)
	default:
		return nil, wrap("ask", fmt.Errorf("%w: the node is %s", ErrUnavailable, fault))
	}
	if text := m.Header.Get(headerError); text != "" {
		return nil, fmt.Errorf("ask: the node says: %s", text)
	}
	return m.Data, nil
}

func nodeSubject(node, kind, account string) string {
	return "node." + node + "." + kind + "." + account
}

// Answer sets who handles the requests of other nodes. Those of one account
// are handled one after the other, as they came; those of different accounts
// may be handled at the same time. The handler's context ends with
// [Directory.Run]. It must be called before Run.
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
	sub, err := d.nc.Subscribe(nodeSubject(d.Incarnation(), "*", "*"), func(m *nats.Msg) {
		account := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
		select {
		case queues[maphash.String(seed, account)%askWorkers] <- m:
			d.queued.Add(1)
		default:
			d.metrics.refused.Inc()
			d.fault(m, faultBusy)
		}
	})
	end := func() {
		cancel()
		workers.Wait()
		for _, q := range queues {
			for len(q) > 0 {
				d.fault(<-q, faultGone)
				d.queued.Add(-1)
			}
		}
	}
	if err != nil {
		end()
		return nil, unavailable(err)
	}
	return func() {
		if err := sub.Unsubscribe(); err != nil {
			d.log.Debug("node's subject not left", "error", err)
		}
		end()
	}, nil
}

func (d *Directory) work(ctx context.Context, queue <-chan *nats.Msg) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case m := <-queue:
			d.queued.Add(-1)
			d.handle(ctx, m)
		}
	}
}

func (d *Directory) handle(ctx context.Context, m *nats.Msg) {
	parts := strings.Split(m.Subject, ".") // node, incarnation, kind, account
	reply := nats.NewMsg(m.Reply)
	var err error
	if d.answer == nil {
		err = errors.New("nobody answers here")
	} else {
		reply.Data, err = d.answer(ctx, Request{Kind: parts[2], Account: Account(strings.TrimPrefix(parts[3], noAccount)), Data: m.Data})
	}
	if err != nil {
		reply.Header.Set(headerError, cmp.Or(strings.TrimSpace(err.Error()), "error")) // empty is none
	}
	d.respond(m, reply)
}

func (d *Directory) fault(m *nats.Msg, fault string) {
	reply := nats.NewMsg(m.Reply)
	reply.Header.Set(headerFault, fault)
	d.respond(m, reply)
}

func (d *Directory) respond(m, reply *nats.Msg) {
	if err := m.RespondMsg(reply); err != nil {
		d.log.Debug("request not answered", "error", err)
	}
}
