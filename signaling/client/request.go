package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// asking is a request to be made.
type asking struct {
	body protocol.Body
	// intent says that it is kept until it is answered: sent again after a
	// reconnect, and for a while when the server says that a retry may help.
	intent bool
	// number completes the body while nothing else can be sent, so that
	// numbers go out in order. It may be nil.
	number func()
	// reply takes the answer. It may be nil.
	reply any
	// answered is called with the answer, in the order of the server's frames.
	// It may be nil.
	answered func(protocol.Frame)
}

// request waits for its answer.
type request struct {
	asking
	raw   []byte
	done  chan struct{}
	frame protocol.Frame // once done is closed
	err   error
}

func (r *request) finish(f protocol.Frame, err error) {
	r.frame, r.err = f, err
	close(r.done)
}

// maxRequests bounds what waits for answers, as while there is no connection.
// A server takes as many at once after a reconnect.
const maxRequests = 256

// ErrTooMany says that too many requests wait for an answer.
var ErrTooMany = fmt.Errorf("client: more than %d requests wait for an answer", maxRequests)

// refusedFor is how long an intent is tried again that the server refuses for
// the moment.
const refusedFor = 30 * time.Second

// ask makes a request and waits for its answer.
func (c *Client) ask(ctx context.Context, a asking) error {
	err := c.askOnce(ctx, a)
	if !a.intent {
		return err
	}
	a.number = nil // it keeps the one it has
	var until time.Time
	backoff, queued := c.options.backoff(), false
	for refused := passing(err); refused != nil; refused = passing(err) {
		if until.IsZero() {
			until = time.Now().Add(refusedFor) // from the first refusal on: the request may have waited for a connection
		}
		wait := time.Duration(refused.AfterMS) * time.Millisecond
		if refused.Code != protocol.CodeRate || wait == 0 { // a rate is this client's alone; the rest others meet, too
			wait += backoff.next()
		}
		if time.Now().Add(wait).After(until) {
			return err
		}
		if refused.Code == protocol.CodeRate && !queued {
			leave, ok := c.queueUp(ctx, a.body.Type())
			if !ok {
				return err
			}
			defer leave()
			queued, until = true, time.Now().Add(refusedFor)
		}
		if !c.waitFor(ctx, wait) {
			return err
		}
		err = c.askOnce(ctx, a)
	}
	return err
}

// passing returns the refusal that an error is, if the server takes the same
// request later.
func passing(err error) *protocol.Error {
	if e, ok := errors.AsType[*protocol.Error](err); ok && e.Retry {
		return e
	}
	return nil
}

// queueUp waits until no other request of the type is being tried again: if all
// that were too many came back together, most would be too many once more. They
// go in the order in which they were refused.
func (c *Client) queueUp(ctx context.Context, t protocol.Type) (leave func(), ok bool) {
	c.mu.Lock()
	turn := c.turns[t]
	if turn == nil {
		turn = make(chan struct{}, 1)
		c.turns[t] = turn
	}
	c.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, true
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return nil, false
}

func (c *Client) waitFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return false
}

// checkAfter is how long a request goes unanswered until the connection is checked: a
// server answers within five seconds. A connection can be dead one way, as when a VPN takes
// over the device's packets: then what the server sends still comes, and nothing that is
// sent arrives.
const checkAfter = 6 * time.Second

func (c *Client) askOnce(ctx context.Context, a asking) error {
	r, id, err := c.start(a)
	if err != nil {
		return err
	}
	late := time.NewTicker(checkAfter)
	defer late.Stop()
	for waiting := true; waiting; {
		select {
		case <-r.done:
			waiting = false
		case <-late.C:
			c.Check()
		case <-ctx.Done():
			c.mu.Lock()
			delete(c.requests, id)
			c.mu.Unlock()
			return fmt.Errorf("client: %s: %w", a.body.Type(), context.Cause(ctx))
		}
	}
	if r.err != nil {
		return r.err
	}
	if r.frame.T == protocol.TypeErr {
		var e protocol.Error
		if err := protocol.DecodeReply(r.frame, &e); err != nil {
			return fmt.Errorf("client: %s: the refusal cannot be read", a.body.Type())
		}
		return &e
	}
	if a.reply == nil {
		return nil
	}
	if err := protocol.DecodeReply(r.frame, a.reply); err != nil {
		return fmt.Errorf("client: %s: the reply cannot be read", a.body.Type())
	}
	return nil
}

// start sends a request, or keeps it until there is a connection.
func (c *Client) start(a asking) (*request, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ctx.Err() != nil:
		return nil, "", c.Err()
	case c.link == nil && !a.intent:
		return nil, "", ErrDisconnected
	case len(c.requests) >= maxRequests:
		return nil, "", ErrTooMany
	}
	if a.number != nil {
		a.number()
	}
	if err := a.body.Validate(); err != nil {
		return nil, "", err
	}
	c.nextID++
	id := fmt.Sprint(c.nextID)
	raw, err := protocol.Encode(protocol.Frame{ID: id}, a.body)
	if err != nil {
		return nil, "", fmt.Errorf("client: %w", err)
	}
	if len(raw) > protocol.MaxFrame {
		return nil, "", protocol.NewError(protocol.CodeTooLarge, "frame of more than %d bytes", protocol.MaxFrame)
	}
	r := &request{asking: a, raw: raw, done: make(chan struct{})}
	c.requests[id] = r
	if c.order = append(c.order, id); len(c.order) > 2*maxRequests {
		c.tidy()
	}
	if c.link != nil {
		c.link.send(raw)
	}
	return r, id, nil
}

// answered gives a request its answer.
func (c *Client) answered(f protocol.Frame) {
	c.mu.Lock()
	r := c.requests[f.Re]
	delete(c.requests, f.Re)
	c.mu.Unlock()
	if r == nil {
		return // nobody waits any more
	}
	if r.answered != nil {
		r.answered(f)
	}
	r.finish(f, nil)
}

// tidy forgets the order of what has been answered. mu must be held.
func (c *Client) tidy() {
	c.order = slices.DeleteFunc(c.order, func(id string) bool { return c.requests[id] == nil })
}

// intents lists the frames that must be sent again. mu must be held.
func (c *Client) intents() [][]byte {
	c.tidy()
	var frames [][]byte
	for _, id := range c.order {
		frames = append(frames, c.requests[id].raw)
	}
	return frames
}

// tell sends a message that gets no answer. Without a connection it is lost.
func (c *Client) tell(b protocol.Body) {
	raw, err := protocol.Encode(protocol.Frame{}, b)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		c.link.send(raw)
	}
}

// ICE asks for ICE servers with credentials for a call, whose id may be one
// that has just been chosen with [NewID]. Without a connection the error is
// [ErrDisconnected].
func (c *Client) ICE(ctx context.Context, call string) (protocol.ICE, error) {
	return c.ICETo(ctx, call, "")
}

// ICETo does the same before a number is invited, and so tells the policy for
// that call. The error holds a [*protocol.Error] if the number cannot be.
func (c *Client) ICETo(ctx context.Context, call, number string) (protocol.ICE, error) {
	var ice protocol.ICE
	err := c.ask(ctx, asking{body: &protocol.ICEGet{Call: call, To: number}, reply: &ice})
	return ice, err
}

// Send sends a text to a number, in any way of writing it, and returns when it
// is stored. id names it; a second Send with the same id is the same text. The
// error holds a [*protocol.Error] if it was refused: bad_number, not_found,
// mailbox_full, rate_limited, conflict, unavailable, and with payloads
// devices_changed.
func (c *Client) Send(ctx context.Context, id, to, text string) (protocol.MessageStored, error) {
	return c.SendTyped(ctx, id, to, "", text)
}

// SendTyped is [Client.Send] for what is not plain text: contentType is a media
// type, and the server does not look into body, which may be encrypted.
func (c *Client) SendTyped(ctx context.Context, id, to, contentType, body string) (protocol.MessageStored, error) {
	return c.SendMessage(ctx, protocol.MessageSend{ID: id, To: to, ContentType: contentType, Body: body})
}

// SendMessage is [Client.Send] for whatever a text may have, as a life after which
// it is of no use, or payloads. After devices_changed send it again with the same
// id and payloads, but without those of devices that are gone, and with more for
// those that have come: no device gets it twice.
func (c *Client) SendMessage(ctx context.Context, m protocol.MessageSend) (protocol.MessageStored, error) {
	var stored protocol.MessageStored
	err := c.ask(ctx, asking{body: &m, intent: true, reply: &stored})
	return stored, err
}

// Devices lists the devices of a number, which may be one's own, with what each
// has published by [Client.PublishKeys]: those for which a text with payloads must
// have one. The error is as of [Client.Send].
func (c *Client) Devices(ctx context.Context, number string) (protocol.DeviceList, error) {
	var list protocol.DeviceList
	err := c.ask(ctx, asking{body: &protocol.DevicesGet{Number: number}, reply: &list})
	return list, err
}

// PublishKeys publishes what others need to encrypt texts for this device, at most
// [protocol.MaxKeys] bytes in whatever form the clients agree on. Empty takes it
// back.
func (c *Client) PublishKeys(ctx context.Context, keys string) error {
	return c.ask(ctx, asking{body: &protocol.KeysSet{Keys: keys}})
}

// SetPush says how this device is woken while it is not connected; nil takes that
// back. The ways that the server has are in [protocol.Welcome]. A target of another
// kind is an error with [protocol.CodeUnsupported], a malformed one with
// [protocol.CodeInvalid].
func (c *Client) SetPush(ctx context.Context, target *protocol.PushTarget) error {
	return c.ask(ctx, asking{body: &protocol.PushSet{Target: target}})
}

// Read tells a sender that his texts have been read, up to and including id.
func (c *Client) Read(ctx context.Context, sender e164.Number, id string) error {
	return c.ask(ctx, asking{body: &protocol.MessageRead{To: sender.E164(), ID: id}, intent: true})
}

// Typing tells whoever has a number that something is being written. It is
// lost if there is no connection. Send it at most every three seconds.
func (c *Client) Typing(to string) { c.tell(&protocol.Typing{To: to}) }
