package client

import (
	"context"
	"fmt"
	"slices"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// request waits for its answer.
type request struct {
	raw    []byte
	intent bool
	done   chan struct{}
	frame  protocol.Frame // once done is closed
	err    error
}

func (r *request) finish(f protocol.Frame, err error) {
	r.frame, r.err = f, err
	close(r.done)
}

// maxRequests bounds what waits for answers, as while there is no connection.
const maxRequests = 1024

// errTooMany says that too many requests wait.
var errTooMany = fmt.Errorf("client: more than %d requests wait for an answer", maxRequests)

// ask sends a request and decodes the reply into v, which may be nil. An intent
// is sent again after a reconnect.
func (c *Client) ask(ctx context.Context, b protocol.Body, intent bool, v any) error {
	r, id, err := c.start(b, intent)
	if err != nil {
		return err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.requests, id)
		c.mu.Unlock()
		return fmt.Errorf("client: %s: %w", b.Type(), context.Cause(ctx))
	}
	if r.err != nil {
		return r.err
	}
	if r.frame.T == protocol.TypeErr {
		var e protocol.Error
		if err := protocol.DecodeReply(r.frame, &e); err != nil {
			return fmt.Errorf("client: %s: the refusal cannot be read", b.Type())
		}
		return &e
	}
	if v == nil {
		return nil
	}
	if err := protocol.DecodeReply(r.frame, v); err != nil {
		return fmt.Errorf("client: %s: the reply cannot be read", b.Type())
	}
	return nil
}

func (c *Client) start(b protocol.Body, intent bool) (*request, string, error) {
	if err := b.Validate(); err != nil {
		return nil, "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ctx.Err() != nil:
		return nil, "", c.Err()
	case c.link == nil && !intent:
		return nil, "", ErrDisconnected
	case len(c.requests) >= maxRequests:
		return nil, "", errTooMany
	}
	c.nextID++
	id := fmt.Sprint(c.nextID)
	raw, err := protocol.Encode(protocol.Frame{ID: id}, b)
	if err != nil {
		return nil, "", fmt.Errorf("client: %w", err)
	}
	r := &request{raw: raw, intent: intent, done: make(chan struct{})}
	c.requests[id] = r
	c.order = append(c.order, id)
	if c.link != nil {
		c.link.send(raw)
	}
	return r, id, nil
}

// answered gives a request its answer.
func (c *Client) answered(f protocol.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.requests[f.Re]; r != nil {
		delete(c.requests, f.Re)
		r.finish(f, nil)
	}
}

// intents lists the frames that must be sent again. It must hold mu.
func (c *Client) intents() [][]byte {
	c.order = slices.DeleteFunc(c.order, func(id string) bool { return c.requests[id] == nil })
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
// that has just been chosen with [NewID].
func (c *Client) ICE(ctx context.Context, call string) (protocol.ICE, error) {
	var ice protocol.ICE
	err := c.ask(ctx, &protocol.ICEGet{Call: call}, false, &ice)
	return ice, err
}

// Send sends a text to a number and returns when it is stored. id names it; a
// second Send with the same id is the same text. The error holds a
// [*protocol.Error] if it was refused: bad_number, not_found, mailbox_full,
// rate_limited.
func (c *Client) Send(ctx context.Context, id, to, text string) (protocol.MessageStored, error) {
	var stored protocol.MessageStored
	err := c.ask(ctx, &protocol.MessageSend{ID: id, To: to, Body: text}, true, &stored)
	return stored, err
}

// Read tells a sender that his texts have been read, up to and including id.
func (c *Client) Read(ctx context.Context, sender e164.Number, id string) error {
	return c.ask(ctx, &protocol.MessageRead{To: sender.E164(), ID: id}, true, nil)
}

// Typing tells whoever has a number that something is being written. It is
// lost if there is no connection.
func (c *Client) Typing(to string) { c.tell(&protocol.Typing{To: to}) }

// Presence asks whether a number is there.
func (c *Client) Presence(ctx context.Context, number string) (protocol.Presence, error) {
	var p protocol.Presence
	err := c.ask(ctx, &protocol.PresenceGet{Number: number}, false, &p)
	return p, err
}
