package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

var (
	// ErrClosed says that the client was closed.
	ErrClosed = errors.New("client: closed")
	// ErrDisconnected says that the connection was lost before the answer came.
	// Intents do not end so: they are sent again.
	ErrDisconnected = errors.New("client: connection lost")
)

// EndError says that the server ended the session for good; connecting again
// would not help.
type EndError struct {
	Code protocol.CloseCode
	// Cause is what the server said before, or nil.
	Cause *protocol.Error
}

func (e *EndError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("client: session ended: %s: %s", e.Code, e.Cause.Message)
	}
	return fmt.Sprintf("client: session ended: %s", e.Code)
}

// Unwrap returns the cause.
func (e *EndError) Unwrap() error {
	if e.Cause == nil {
		return nil
	}
	return e.Cause
}

// Client is a device's session. Make one with [Dial].
type Client struct {
	// Static after Dial.
	options Options
	events  chan Event // closed when the client has ended
	ctx     context.Context
	cancel  context.CancelCauseFunc
	ended   chan struct{}
	first   chan struct{} // closed at the first welcome
	later   sync.WaitGroup
	closing atomic.Bool // Close has been called: a connection that ends is not missed

	// Owned by run.
	lastS uint64
	route route
	aside sync.WaitGroup // what runs beside the connection

	// Guarded by mu.
	mu       sync.Mutex
	link     *link // nil while disconnected
	token    string
	trouble  error // why the last connection ended
	welcome  protocol.Welcome
	nextID   uint64
	requests map[string]*request
	order    []string // ids of requests, oldest first; some may be answered
	calls    map[string]*Call
	turns    map[protocol.Type]chan struct{} // holds one while a request is tried again that was too many
	// subscribed are the numbers, in E.164 form, that the program wants to hear of.
	subscribed map[string]bool
	glare      glare
	box        mailbox
	measured   measured
}

// eventQueue is how many events may wait for the program: more than the server
// sends of a mailbox without acknowledgement. When it is full nothing more is
// read, answers neither, and the server will close the connection as slow.
const eventQueue = 1024

// maxAway bounds how long a node that stops can keep the client away.
const maxAway = 2 * time.Minute

// Dial opens a session and returns once the server has welcomed it. If the
// server cannot be reached it tries again until ctx ends, and the error holds
// ctx's cause and what went wrong last; if the server refuses for good, the
// error holds an [*EndError]. ctx bounds only Dial.
func Dial(ctx context.Context, o Options) (*Client, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	c := &Client{
		options: o, events: make(chan Event, eventQueue), ended: make(chan struct{}), first: make(chan struct{}),
		token: o.Token, requests: map[string]*request{}, calls: map[string]*Call{}, turns: map[protocol.Type]chan struct{}{}, subscribed: map[string]bool{}, box: newMailbox(),
		route: newRoute(o),
	}
	if len(o.RoundTrips) > 0 {
		c.measured = measured{trips: o.RoundTrips, begun: time.Now()}
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	go c.run()
	select {
	case <-c.first:
		return c, nil
	case <-c.ended:
		return nil, c.Err()
	case <-ctx.Done():
		c.Close()
		err := fmt.Errorf("client: no session: %w", context.Cause(ctx))
		if c.trouble != nil {
			err = fmt.Errorf("%w: %w", err, c.trouble)
		}
		return nil, err
	}
}

// SetToken gives the token for connections from now on, as after [Refresh].
// The present connection stays.
func (c *Client) SetToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
}

// Events brings what the server tells, beginning with [Connected]. It is
// closed when the client has ended; [Client.Err] says why.
func (c *Client) Events() <-chan Event { return c.events }

// Err is why the client has ended: [ErrClosed], an [*EndError], or nil while
// it goes on.
func (c *Client) Err() error { return context.Cause(c.ctx) }

// checkWithin is how long the server may be silent when it is asked for a sign of life.
const checkWithin = 5 * time.Second

// Check is for who has reason to doubt the connection, such as one that has lost media or
// sees another network: if the server says nothing within 5 s, the client connects anew,
// where it would else take up to two and a half heartbeats to notice. It does not wait.
func (c *Client) Check() { c.CheckWithin(checkWithin) }

// CheckWithin is Check for who has more reason than doubt, such as one whose packets leave
// from another address than before, and says how long the server may be silent.
func (c *Client) CheckWithin(d time.Duration) {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l != nil {
		l.check(d)
	}
}

// Welcome is what the server said at the last connection.
func (c *Client) Welcome() protocol.Welcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcome
}

// Number is the account's number.
func (c *Client) Number() e164.Number { return c.Welcome().Number }

// Close says bye and ends the client. Calls are not hung up by it.
func (c *Client) Close() error {
	c.closing.Store(true)
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l != nil {
		c.flushAcks(l)
		l.bye()
	}
	c.cancel(ErrClosed)
	<-c.ended
	return nil
}

// run keeps a connection until the client ends.
func (c *Client) run() {
	defer close(c.ended)
	defer close(c.events)
	defer c.later.Wait()
	defer c.failAll()
	defer c.aside.Wait()
	backoff := c.options.backoff()
	for {
		began := time.Now()
		welcomed, err := c.connect()
		if c.ctx.Err() != nil || c.closing.Load() {
			c.cancel(ErrClosed)
			return
		}
		var end *EndError
		if errors.As(err, &end) && (welcomed || !c.route.hinted()) { // what a node refuses that was only hinted at, the server may not
			c.cancel(end)
			return
		}
		if welcomed && time.Since(began) > c.options.MaxBackoff {
			backoff.reset()
		}
		var wait time.Duration
		var later *goingAway
		switch {
		case errors.As(err, &later):
			wait = min(later.after, maxAway)
		case errors.Is(err, errMoved), !welcomed && c.route.failed():
			// There is another place to try at once.
		default:
			wait = backoff.next()
		}
		c.mu.Lock()
		c.trouble = err
		c.mu.Unlock()
		c.options.Log.Debug("disconnected", "error", err, "retry", wait)
		if !c.emit(Disconnected{err, wait}) || !c.pause(wait) {
			return
		}
	}
}

func (c *Client) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// emit hands an event to the program. It reports false if the client ended
// first.
func (c *Client) emit(e Event) bool {
	select {
	case c.events <- e:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// emitUnless hands over an event that nobody misses, unless the program is far
// behind.
func (c *Client) emitUnless(e Event) bool {
	if len(c.events) > cap(c.events)/2 {
		return c.ctx.Err() == nil
	}
	return c.emit(e)
}

// goingAway is why a connection ended that the server announced to end.
type goingAway struct {
	after time.Duration
	to    string // the node to go to, or empty
}

func (g *goingAway) Error() string { return "client: the node stops" }

// connect opens one connection and serves it until it ends. It tells whether
// it was welcomed.
func (c *Client) connect() (welcomed bool, err error) {
	ws, resp, err := c.options.Dialer.DialContext(c.ctx, c.route.url(), nil)
	if err != nil {
		if resp != nil {
			return false, fmt.Errorf("client: the server answered %s", resp.Status)
		}
		return false, fmt.Errorf("client: %w", err)
	}
	l := newLink(c, ws)
	defer l.close()
	err = l.serve(c.hello())
	if l.welcomed {
		c.route.arrived()
	}
	var away *goingAway
	switch {
	case l.moving():
		c.route.follow(l.better)
		return true, errMoved
	case errors.As(err, &away):
		c.route.leave(away.to)
	case websocket.IsCloseError(err, int(protocol.CloseLease), int(protocol.CloseInternal)):
		c.route.leave("")
	}
	return l.welcomed, err
}

func (c *Client) hello() *protocol.Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &protocol.Hello{Token: c.token, Client: c.options.Name, Away: c.options.Away, RoundTrips: c.measured.told()}
	if c.welcome.Session != "" {
		h.Resume = &protocol.Resume{Session: c.welcome.Session, Key: c.welcome.Key, S: c.lastS}
	}
	return h
}

// welcomed takes up the session on a new connection.
func (c *Client) welcomed(l *link, w protocol.Welcome) bool {
	c.mu.Lock()
	again := c.welcome.Session != ""
	if w.Resumed != protocol.ResumedFull {
		c.lastS = 0
	}
	c.welcome, c.link = w, l
	c.box.reconnected()
	for _, raw := range c.intents() { // before anything new: order matters to candidates
		l.send(raw)
	}
	c.mu.Unlock()
	if !c.emit(Connected{w}) {
		return false
	}
	if !again {
		close(c.first)
	}
	if w.Resumed != protocol.ResumedFull {
		c.takeUp(w.Calls)
		c.resubscribe()
	}
	return true
}

// lost is told that the connection is gone.
func (c *Client) lost(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == l {
		c.link = nil
	}
	for id, r := range c.requests {
		if !r.intent {
			r.finish(protocol.Frame{}, ErrDisconnected)
			delete(c.requests, id)
		}
	}
}

func (c *Client) failAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, r := range c.requests {
		r.finish(protocol.Frame{}, c.Err())
		delete(c.requests, id)
	}
	for _, k := range c.calls {
		k.queue.close(c.Err())
	}
}

// closeError turns the end of a connection into what is to be done about it.
func closeError(err error, cause *protocol.Error) error {
	var ce *websocket.CloseError
	if errors.As(err, &ce) && ce.Code >= 4000 && !protocol.CloseCode(ce.Code).Reconnect() {
		return &EndError{Code: protocol.CloseCode(ce.Code), Cause: cause}
	}
	if cause != nil {
		return cause
	}
	return err
}
