package plain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// Run keeps the session until ctx ends or the server says not to come back.
func (c *Client) Run(ctx context.Context) error {
	var wait backoff
	for failed := 0; ; {
		began := time.Now()
		welcomed, err := c.connection(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var closed *websocket.CloseError
		if errors.As(err, &closed) && closed.Code >= 4500 && closed.Code <= 4999 {
			return err
		}
		if time.Since(began) >= 15*time.Second {
			wait = 0
		}
		leave := closed != nil && (closed.Code == 4000 || closed.Code == 4003 || closed.Code == 4004)
		if !welcomed || leave {
			c.at = (c.at + 1) % len(c.urls)
		}
		if welcomed {
			failed = 0
		} else if failed++; failed < len(c.urls) {
			continue
		}
		failed = 0
		if !pause(ctx, wait.draw()) {
			return ctx.Err()
		}
		wait = wait.more()
	}
}

// connection is steps 1 to 6 of "Connecting, and connecting again".
func (c *Client) connection(ctx context.Context) (welcomed bool, err error) {
	c.mu.Lock()
	offline := c.offline
	c.mu.Unlock()
	if offline {
		return false, errors.New("offline")
	}
	d := websocket.Dialer{Subprotocols: []string{"switchboard.v1"}, HandshakeTimeout: 10 * time.Second}
	conn, _, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(c.urls[c.at], "http")+"/v1/ws", nil)
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	defer conn.Close()

	hello := map[string]any{"token": c.token, "client": "plain/1"}
	if c.welcome != nil {
		hello["resume"] = map[string]any{"session": c.welcome.Session, "key": c.welcome.Key, "s": c.s}
	}
	if err := conn.WriteJSON(Frame{T: "hello", D: encode(hello)}); err != nil {
		return false, err
	}
	var w Welcome
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	f, err := c.read(conn)
	if err != nil {
		return false, err
	}
	if f.T != "welcome" {
		_, err := c.read(conn) // the close code that follows the refusal
		return false, fmt.Errorf("refused: %w", err)
	}
	if err := json.Unmarshal(f.D, &w); err != nil {
		return false, err
	}
	if w.Resumed != "full" {
		c.s = 0
	}
	c.welcome = &w
	c.box.n, c.box.seq, c.box.told = 0, 0, 0
	c.take(f)
	return true, c.talk(ctx, conn, time.Duration(w.HeartbeatMS)*time.Millisecond)
}

func (c *Client) read(conn *websocket.Conn) (f Frame, err error) {
	if err = conn.ReadJSON(&f); err == nil {
		c.seen(f)
	}
	return f, err
}

// talk reads in a goroutine of its own and writes in this one.
func (c *Client) talk(ctx context.Context, conn *websocket.Conn, beat time.Duration) error {
	frames, failed, quit := make(chan Frame), make(chan error, 1), make(chan struct{})
	go func() {
		defer close(frames)
		for {
			conn.SetReadDeadline(time.Now().Add(beat * 5 / 2))
			f, err := c.read(conn)
			if err != nil {
				failed <- err
				return
			}
			select {
			case frames <- f:
			case <-quit:
				return
			}
		}
	}()
	defer func() {
		close(quit)
		conn.Close()
		for range frames {
		}
	}()
	sent := map[string]bool{}
	acked, wrote := c.s, time.Now()
	write := func(f Frame) error {
		f.A, acked, wrote = c.s, c.s, time.Now()
		conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		return conn.WriteJSON(f)
	}
	tick := time.NewTicker(min(beat/2, 500*time.Millisecond))
	defer tick.Stop()
	for first := true; ; first = false {
		for _, f := range c.unsent(sent) {
			if err := write(f); err != nil {
				return err
			}
		}
		due := first
		if !first {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-c.wake:
			case <-tick.C:
				due = true
			case f, open := <-frames:
				if !open {
					return <-failed
				}
				if err := c.handle(f); err != nil {
					return err
				}
			}
		}
		if c.box.seq > c.box.told && (due || c.box.seq-c.box.told >= 64) {
			c.box.told = c.box.seq
			if err := write(Frame{T: "mailbox.ack", D: encode(map[string]any{"seq": c.box.seq})}); err != nil {
				return err
			}
		}
		if c.s > acked && (due || c.s-acked >= 32) {
			if err := write(Frame{T: "ack"}); err != nil {
				return err
			}
		}
		if time.Since(wrote) >= beat/2 {
			if err := write(Frame{T: "ping"}); err != nil {
				return err
			}
		}
	}
}

func (c *Client) unsent(sent map[string]bool) (frames []Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, in := range c.intents {
		if !sent[in.frame.ID] {
			sent[in.frame.ID] = true
			frames = append(frames, in.frame)
		}
	}
	return frames
}

func (c *Client) handle(f Frame) error {
	if f.S > 0 {
		if f.S <= c.s {
			return nil
		}
		if f.S != c.s+1 {
			return errGap
		}
		c.s = f.S
	}
	switch f.T {
	case "ok", "err":
		if in := c.answered(f.Re); in != nil {
			in.reply <- f
		}
		return nil
	case "mailbox.item":
		var it Item
		if err := json.Unmarshal(f.D, &it); err != nil {
			return err
		}
		fresh, err := c.box.add(it)
		if fresh {
			c.keep(it)
		}
		return err
	case "mailbox.drained":
		var d struct{ N, Seq uint64 }
		if err := json.Unmarshal(f.D, &d); err != nil {
			return err
		}
		return c.box.drained(d.N, d.Seq)
	}
	c.take(f)
	return nil
}
