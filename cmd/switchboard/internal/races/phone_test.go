package races

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/cmd/switchboard/internal/fleet"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

const (
	offer  = "v=0 offer\r\na=ice-ufrag:caller\r\n"
	answer = "v=0 answer\r\na=ice-ufrag:callee\r\n"
	// patience is how long anything may take that has to happen.
	patience = 30 * time.Second
)

// phone is a device. Whoever races with it reads its calls.
type phone struct {
	number string
	client *client.Client
	calls  chan client.Incoming
	tasks  sync.WaitGroup

	mu        sync.Mutex
	conn      net.Conn
	connected chan protocol.Welcome // of the newest session
}

// register makes a device for a number and connects it to a node.
func register(ctx context.Context, n *fleet.Node, number string) (*phone, error) {
	got, err := n.Register(ctx, number)
	if err != nil {
		return nil, err
	}
	p := &phone{number: number, calls: make(chan client.Incoming, 64), connected: make(chan protocol.Welcome, 64)}
	dialer := &websocket.Dialer{HandshakeTimeout: 3 * time.Second, NetDialContext: p.dial}
	p.client, err = client.Dial(ctx, client.Options{URL: n.URL, Token: got.Token, Name: "races", Dialer: dialer, MaxBackoff: time.Second})
	if err != nil {
		return nil, err
	}
	p.tasks.Go(p.read)
	return p, nil
}

func (p *phone) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err == nil {
		p.mu.Lock()
		p.conn = c
		p.mu.Unlock()
	}
	return c, err
}

// cut breaks the connection, as a bad network does.
func (p *phone) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn.Close()
}

// idle waits until the server says that the device is in no call: whenever its
// session begins anew.
func (p *phone) idle(ctx context.Context) error {
	for {
		for len(p.connected) > 0 {
			<-p.connected
		}
		p.cut()
		select {
		case w := <-p.connected:
			if len(w.Calls) == 0 {
				return nil
			}
			pause(ctx, 100*time.Millisecond)
		case <-ctx.Done():
			return errors.New("the phone did not come back, or is still in a call")
		}
	}
}

// read takes what comes until the client is closed.
func (p *phone) read() {
	for e := range p.client.Events() {
		switch e := e.(type) {
		case client.Item:
			e.Ack()
		case client.Connected:
			select {
			case p.connected <- e.Welcome:
			default:
			}
		case client.Incoming:
			select {
			case p.calls <- e:
			default: // the race that is on fails
			}
		}
	}
}

func (p *phone) close() {
	p.client.Close()
	p.tasks.Wait()
}

// rung waits for a call that ok accepts. Others are those of an earlier try, in
// which the phone was not asked.
func (p *phone) rung(ctx context.Context, ok func(client.Incoming) bool) (*client.Call, error) {
	for {
		select {
		case in := <-p.calls:
			if ok(in) {
				return in.Call, nil
			}
		case <-ctx.Done():
			return nil, errors.New("no such call came")
		}
	}
}

// next waits for an event of the kind T and passes over others, but for the end.
func next[T client.CallEvent](ctx context.Context, call *client.Call) (e T, err error) {
	for {
		got, err := call.Next(ctx)
		if err != nil {
			return e, fmt.Errorf("%T: %w", e, err)
		}
		if e, ok := got.(T); ok {
			return e, nil
		}
		if end, ok := got.(client.Ended); ok {
			return e, fmt.Errorf("%T: %w: %s", e, errEnded, end.Reason)
		}
	}
}

var errEnded = errors.New("the call ended")

// over waits for the end of a call, and that nothing follows it.
func over(ctx context.Context, call *client.Call, want ...protocol.Reason) error {
	end, err := next[client.Ended](ctx, call)
	if err != nil {
		return err
	}
	for _, r := range want {
		if end.Reason == r {
			if _, err := call.Next(ctx); !errors.Is(err, client.ErrCallOver) {
				return fmt.Errorf("something followed the end: %v", err)
			}
			return nil
		}
	}
	return fmt.Errorf("the call ended by %s, want %v", end.Reason, want)
}
