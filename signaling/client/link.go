package client

import (
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/signaling/protocol"
)

// link is one connection: a reader, which is the client's own goroutine, and a
// writer.
type link struct {
	client *Client
	ws     *websocket.Conn
	out    chan []byte // never closed
	done   chan struct{}
	once   sync.Once
	writer sync.WaitGroup

	// Owned by the reader.
	cause    *protocol.Error // the last err without re
	away     *goingAway
	unacked  int
	welcomed bool
	items    uint64 // how many of the mailbox have come
	better   string // where to move when idle

	// Guarded by mu.
	mu     sync.Mutex
	ackS   uint64 // to be acknowledged; 0 for nothing
	beat   time.Duration
	moveAt time.Time     // when to move, if idle; zero: not at all
	moved  bool          // it was given up
	acked  chan struct{} // wakes the writer when something is to be acknowledged at once
	kept   chan struct{} // the same of items
}

const (
	// linkQueue is how many frames may wait to be written: every intent, after
	// a reconnect, and some more.
	linkQueue = 2 * maxRequests
	// helloTimeout bounds the wait for welcome.
	helloTimeout = 10 * time.Second
	writeTimeout = 10 * time.Second
	// ackDelay is how long an acknowledgement may wait for something to ride on.
	ackDelay = 500 * time.Millisecond
	// ackAfter is how many frames are acknowledged at once.
	ackAfter = 32
)

// pingFrame is answered at once.
const pingFrame = `{"t":"ping"}`

// errGap is why a connection is given up on which a frame got lost.
var errGap = errors.New("client: a frame got lost on the way")

func newLink(c *Client, ws *websocket.Conn) *link {
	ws.SetReadLimit(protocol.MaxFrame)
	return &link{client: c, ws: ws, out: make(chan []byte, linkQueue), done: make(chan struct{}), beat: time.Minute, acked: make(chan struct{}, 1), kept: make(chan struct{}, 1)}
}

func (l *link) close() {
	l.once.Do(func() { close(l.done) })
	l.ws.Close()
	l.writer.Wait()
}

// send queues a frame. A server that does not read gets the connection closed.
func (l *link) send(raw []byte) {
	select {
	case l.out <- raw:
	case <-l.done:
	default:
		l.ws.Close()
	}
}

// serve says hello and reads until the connection ends.
func (l *link) serve(h *protocol.Hello) error {
	l.writer.Go(l.write)
	l.writer.Go(func() { // a client that is closed closes its connection
		select {
		case <-l.client.ctx.Done():
			select { // after bye has been written
			case <-l.done:
			case <-time.After(time.Second):
			}
			l.ws.Close()
		case <-l.done:
		}
	})
	raw, err := protocol.Encode(protocol.Frame{}, h)
	if err != nil {
		return err
	}
	l.send(raw)
	defer l.client.lost(l)
	patience := helloTimeout
	for {
		if err := l.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		_, b, err := l.ws.ReadMessage()
		if err != nil {
			if l.away != nil {
				return l.away
			}
			return closeError(err, l.cause)
		}
		f, err := protocol.DecodeFrame(b)
		if err != nil {
			return err
		}
		if ok, err := l.receive(f); !ok {
			return err
		}
		patience = l.patience()
	}
}

func (l *link) patience() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.beat*2 + l.beat/2
}

// check asks for a sign of life, which must come soon. It may be called by anybody.
func (l *link) check(within time.Duration) {
	if err := l.ws.SetReadDeadline(time.Now().Add(within)); err != nil {
		return // it has ended
	}
	l.send([]byte(pingFrame))
}

// receive handles a frame. It reports false when the connection is to end.
func (l *link) receive(f protocol.Frame) (bool, error) {
	c := l.client
	if f.S > 0 {
		if f.S <= c.lastS {
			l.acknowledge(c.lastS)
			return true, nil // had before
		}
		if f.S > c.lastS+1 {
			return false, errGap
		}
		defer func() {
			c.mu.Lock()
			c.lastS = f.S
			c.mu.Unlock()
			l.acknowledge(f.S)
		}()
	}
	switch {
	case f.Re != "":
		c.answered(f)
		return true, nil
	case f.T == protocol.TypeErr:
		var e protocol.Error
		if protocol.DecodeReply(f, &e) == nil {
			l.cause = &e
		}
		return true, nil
	}
	body, err := protocol.Decode(f, protocol.Server)
	if err != nil {
		c.options.Log.Debug("frame not understood", "type", string(f.T), "error", err)
		return true, nil // of a newer server, perhaps
	}
	switch m := body.(type) {
	case *protocol.MailboxItem:
		if m.N > 0 && m.N <= l.items {
			return true, nil // had before
		}
		if m.N > l.items+1 {
			return false, errGap
		}
		l.items = m.N
		return c.item(m), ErrClosed
	case *protocol.MailboxDrained:
		if m.N > l.items {
			return false, errGap
		}
		return c.drained(m), ErrClosed
	case *protocol.Welcome:
		if l.welcomed {
			return true, nil // had before
		}
		l.mu.Lock()
		l.beat = time.Duration(m.HeartbeatMS) * time.Millisecond
		l.mu.Unlock()
		l.welcomed = true
		if to := c.better(m.Better); to != "" && c.route.rested() && !c.options.Away {
			l.moveTo(to)
		}
		c.measure(m.Regions)
		return c.welcomed(l, *m), ErrClosed
	case *protocol.GoingAway:
		l.away = &goingAway{time.Duration(m.AfterMS) * time.Millisecond, c.better(m.Better)}
	case *protocol.Pong:
	default:
		return c.told(m), ErrClosed
	}
	return true, nil
}

// acknowledge notes what has been handled. It goes with the next frame, or by
// itself soon.
func (l *link) acknowledge(s uint64) {
	l.mu.Lock()
	l.ackS = s
	l.unacked++
	now := l.unacked >= ackAfter
	l.mu.Unlock()
	if now {
		select {
		case l.acked <- struct{}{}:
		default:
		}
	}
}

// flushKept has the writer tell soon which items are kept.
func (l *link) flushKept() {
	select {
	case l.kept <- struct{}{}:
	default:
	}
}

// takeAck returns what is to be acknowledged, once.
func (l *link) takeAck() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.ackS
	l.ackS, l.unacked = 0, 0
	return s
}

// write is the only writer.
func (l *link) write() {
	ack := time.NewTicker(ackDelay)
	defer ack.Stop()
	last := time.Now()
	for {
		var raw []byte
		select {
		case <-l.done:
			return
		case raw = <-l.out:
		case <-l.acked:
			raw = l.ackFrame()
		case <-l.kept:
			l.client.flushAcks(l)
		case <-ack.C:
			l.client.flushAcks(l)
			if l.moveIfIdle() {
				l.leave()
				return
			}
			if raw = l.ackFrame(); raw == nil && time.Since(last) >= l.heartbeat() {
				raw = []byte(pingFrame)
			}
		}
		if raw == nil {
			continue
		}
		if err := l.writeOne(raw); err != nil {
			l.ws.Close() // the reader sees it
			return
		}
		last = time.Now()
		if string(raw) == byeFrame {
			_ = l.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
		}
	}
}

// heartbeat is a little sooner than the server asks for.
func (l *link) heartbeat() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.beat - l.beat/8
}

func (l *link) ackFrame() []byte {
	s := l.takeAck()
	if s == 0 {
		return nil
	}
	raw, err := protocol.Encode(protocol.Frame{A: s}, &protocol.Ack{})
	if err != nil {
		return nil
	}
	return raw
}

func (l *link) writeOne(raw []byte) error {
	if err := l.ws.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return l.ws.WriteMessage(websocket.TextMessage, raw)
}

// leave says the last of a connection that is given up: the session goes on
// elsewhere.
func (l *link) leave() {
	if raw := l.ackFrame(); raw != nil {
		_ = l.writeOne(raw)
	}
	_ = l.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	l.ws.Close() // the reader sees it
}

const byeFrame = `{"t":"bye"}`

// bye asks the server to end the session, and waits for that a little.
func (l *link) bye() {
	l.send([]byte(byeFrame))
	select {
	case <-l.done:
	case <-time.After(time.Second):
	}
}
