package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/cmd/internal/ledger"
	"switchboard/cmd/switchboard/internal/fleet"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// notes is what the phones tell of: texts, which the ledger checks, and calls.
type notes struct {
	texts *ledger.Ledger

	// Guarded by mu.
	mu      sync.Mutex
	answers int               // calls that were answered
	rung    map[string]string // by id of a call: what its callee did
	faults  []string          // what must not be
}

func (l *notes) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// phone is a device and the person who has it.
type phone struct {
	// Static after register.
	number  string
	answers bool // calls
	client  *client.Client
	device  ledger.Device
	ledger  *notes
	tasks   sync.WaitGroup

	mu      sync.Mutex
	calls   map[string]*client.Call // that it was rung for
	arrived chan string             // ids of calls that it has answered
}

// anyNode dials the nodes in a random order, as a load balancer would, and
// takes the first that listens.
func anyNode(f *fleet.Fleet, between *network) *websocket.Dialer {
	return &websocket.Dialer{
		HandshakeTimeout: 3 * time.Second,
		NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			var errs []error
			for _, i := range rand.Perm(len(f.Nodes)) {
				c, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(f.Nodes[i].URL, "http://"))
				if err == nil {
					return between.wrap(c), nil
				}
				errs = append(errs, err)
			}
			return nil, errors.Join(errs...)
		},
	}
}

// register makes a device for a number and connects it. It takes calls, or lets
// the number's other device take them.
func register(ctx context.Context, f *fleet.Fleet, between *network, l *notes, number string, answers bool) (*phone, error) {
	n := f.Nodes[rand.IntN(len(f.Nodes))]
	got, err := n.Register(ctx, number)
	if err != nil {
		return nil, err
	}
	p := &phone{number: number, answers: answers, ledger: l, device: ledger.Device{Account: number, Name: strconv.FormatUint(uint64(got.Device), 10)}, calls: map[string]*client.Call{}, arrived: make(chan string, 64)}
	p.client, err = client.Dial(ctx, client.Options{URL: "http://any.node", Token: got.Token, Name: "chaos", Dialer: anyNode(f, between), MaxBackoff: 2 * time.Second})
	if err != nil {
		return nil, err
	}
	l.texts.Add(p.device)
	p.tasks.Go(p.read)
	return p, nil
}

// read takes what comes until the client is closed.
func (p *phone) read() {
	for e := range p.client.Events() {
		switch e := e.(type) {
		case client.Item:
			if e.Kind == protocol.KindMessage {
				p.ledger.texts.Shown(p.device, ledger.Item{Seq: e.Seq, ID: e.ID, From: e.From.E164(), To: e.To.E164(), Type: e.ContentType, Body: e.Body})
			}
			e.Ack()
		case client.Incoming:
			if !p.answers {
				continue
			}
			p.mu.Lock()
			p.calls[e.Call.ID] = e.Call
			p.mu.Unlock()
			p.tasks.Go(func() { p.answer(e.Call) })
		}
	}
	if err := p.client.Err(); !errors.Is(err, client.ErrClosed) {
		p.ledger.fault("a session ended for good: %v", err)
	}
}

// secretWord is in every text, and must be in no log.
const secretWord = "between you and me"

// sendWithin is how long a text may take, faults included, before its sender
// gives up.
const sendWithin = 2 * time.Minute

// send sends a text and notes when it is acknowledged.
func (p *phone) send(ctx context.Context, to string) {
	x := ledger.Text{ID: client.NewID(), From: p.device, To: to, Type: "text/plain", Body: secretWord + " " + client.NewID()}
	p.ledger.texts.Begin(x)
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	if _, err := p.client.Send(ctx, x.ID, to, x.Body); err != nil {
		p.ledger.texts.Failed(p.number, x.ID)
		p.ledger.fault("a text was not taken in %v: %v", sendWithin, err)
		return
	}
	p.ledger.texts.Stored(p.number, x.ID)
}

// answer takes a call and follows it to its end.
func (p *phone) answer(call *client.Call) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	defer func() {
		p.mu.Lock()
		delete(p.calls, call.ID)
		p.mu.Unlock()
	}()
	began := time.Now()
	err := call.Answer(ctx, "v=0 answer")
	p.ledger.mu.Lock()
	p.ledger.rung[call.ID] = fmt.Sprintf("rung at %s, its answer took %v: %v", began.Format(time.TimeOnly), time.Since(began), err)
	p.ledger.mu.Unlock()
	if err != nil {
		return // the caller's side tells
	}
	_ = call.Report(ctx, protocol.CallReport{Media: protocol.MediaConnected})
	p.ledger.mu.Lock()
	p.ledger.answers++
	p.ledger.mu.Unlock()
	for {
		e, err := call.Next(ctx)
		if err != nil {
			p.ledger.fault("the callee's end of a call: %v", err)
			return
		}
		if end, ended := e.(client.Ended); ended {
			p.ledger.mu.Lock()
			p.ledger.rung[call.ID] += fmt.Sprintf("; over at %s: %s", time.Now().Format(time.TimeOnly), end.Reason)
			p.ledger.mu.Unlock()
			return
		}
	}
}

// inCall reports whether the phone takes part in the call.
func (p *phone) inCall(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[id] != nil
}

// callError is why a call came to nothing.
type callError struct {
	id    string
	cause error
}

func (e *callError) Error() string { return e.cause.Error() }

// call calls a number and returns once it is answered.
func (p *phone) call(ctx context.Context, to string) (*client.Call, error) {
	id := client.NewID()
	call, _, err := p.client.Invite(ctx, id, to, []protocol.Media{protocol.Audio}, "v=0 offer")
	if err != nil {
		return nil, &callError{id, fmt.Errorf("invite: %w", err)}
	}
	for {
		e, err := call.Next(ctx)
		if err != nil {
			return nil, &callError{id, fmt.Errorf("not answered: %w", err)}
		}
		switch e := e.(type) {
		case client.Answered:
			return call, call.Report(ctx, protocol.CallReport{Media: protocol.MediaConnected})
		case client.Ended:
			return nil, &callError{id, fmt.Errorf("not answered: %s", e.Reason)}
		}
	}
}

func (p *phone) close() {
	p.client.Close()
	p.tasks.Wait()
}
