package plain

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// An intent is a request that has no final answer yet. It survives connections.
type intent struct {
	frame Frame
	reply chan Frame // holds one
}

// A Client is a device's session, over as many connections as it takes.
type Client struct {
	// Static after New.
	token string
	urls  []string
	seen  func(Frame) // every frame as it comes
	take  func(Frame) // what is new: reliable and other frames, once each
	keep  func(Item)  // what is new in the mailbox

	// Owned by Run.
	welcome *Welcome
	s       uint64 // the last reliable frame that was handled
	at      int    // the URL in use
	box     mailbox

	mu      sync.Mutex // guards what follows
	intents []*intent
	next    int
	conn    *websocket.Conn
	offline bool
	wake    chan struct{} // holds one
}

// New makes the client of a device; Run is its life. The functions are called
// from Run, one at a time.
func New(token string, urls []string, seen, take func(Frame), keep func(Item)) *Client {
	return &Client{token: token, urls: urls, seen: seen, take: take, keep: keep, box: mailbox{kept: map[string]bool{}}, wake: make(chan struct{}, 1)}
}

// Do sends an intent until it is answered. It is sent anew on each connection,
// and after a refusal that may not last.
func (c *Client) Do(ctx context.Context, t string, d, out any) error {
	for wait := backoff(0); ; wait = wait.more() {
		f, err := c.once(ctx, Frame{T: t, D: encode(d)})
		if err != nil {
			return err
		}
		if f.T == "ok" {
			if out == nil || f.D == nil {
				return nil
			}
			return json.Unmarshal(f.D, out)
		}
		var refused Error
		if err := json.Unmarshal(f.D, &refused); err != nil {
			return err
		}
		if !refused.Retry {
			return &refused
		}
		if !pause(ctx, time.Duration(refused.AfterMS)*time.Millisecond+wait.draw()) {
			return errors.Join(ctx.Err(), &refused)
		}
	}
}

func (c *Client) once(ctx context.Context, f Frame) (Frame, error) {
	in := &intent{reply: make(chan Frame, 1)}
	c.mu.Lock()
	c.next++
	f.ID = strconv.Itoa(c.next)
	in.frame = f
	c.intents = append(c.intents, in)
	c.mu.Unlock()
	c.nudge()
	select {
	case f := <-in.reply:
		return f, nil
	case <-ctx.Done():
		c.answered(f.ID)
		return Frame{}, ctx.Err()
	}
}

func (c *Client) answered(id string) *intent {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, in := range c.intents {
		if in.frame.ID == id {
			c.intents = append(c.intents[:i:i], c.intents[i+1:]...)
			return in
		}
	}
	return nil
}

// Pending counts the intents that are not answered.
func (c *Client) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.intents)
}

func (c *Client) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Cut breaks the connection as a network does; Offline keeps it broken.
func (c *Client) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.NetConn().Close()
	}
}

// Offline says whether the device is without a network.
func (c *Client) Offline(yes bool) {
	c.mu.Lock()
	c.offline = yes
	c.mu.Unlock()
	if yes {
		c.Cut()
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// backoff counts the attempts that have failed, as in section 8.
type backoff int

func (b backoff) more() backoff { return min(b+1, 6) }
func (b backoff) draw() time.Duration {
	return rand.N(min(250*time.Millisecond<<b, 15*time.Second))
}
