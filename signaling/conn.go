package signaling

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/signaling/protocol"
)

// conn is one WebSocket connection. Its reader is the goroutine of
// [Server.serve]; its writer lives only while something is queued.
type conn struct {
	// Static after newConn.
	srv    *Server
	ws     *websocket.Conn
	remote string // address without port, for limits and the log at debug level

	// Guarded by mu.
	mu      sync.Mutex
	queue   [][]byte
	queued  int  // bytes in queue
	writing bool // a writer goroutine runs
	closed  bool
	code    protocol.CloseCode // why, once closed; 0 if the peer left
	said    chan struct{}      // closed when the close frame has been written, or cannot be
	closeBy time.Time          // when the reader stops waiting for the peer's close frame
}

// closeGrace is how long the peer may take to answer a close frame. Closing
// the socket sooner could take the frame away from a peer that is sending.
const closeGrace = time.Second

// send queues a frame. It never blocks. A peer that cannot keep up is closed
// as slow, because nothing may be left out silently.
func (c *conn) send(frames ...[]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	for _, b := range frames {
		c.queue = append(c.queue, b)
		c.queued += len(b)
	}
	if c.queued > c.srv.cfg.Limits.QueueBytes {
		c.closeLocked(protocol.CloseSlow)
		return
	}
	c.startWriter()
}

// sendSpare queues a frame that may be left out, unless much waits already. It
// reports whether it did.
func (c *conn) sendSpare(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.queued > c.srv.cfg.Limits.QueueBytes/4 {
		return false
	}
	c.queue = append(c.queue, b)
	c.queued += len(b)
	c.startWriter()
	return true
}

// close ends the connection with a code, after what is queued has been
// written. It does not wait. The first code counts.
func (c *conn) close(code protocol.CloseCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closeLocked(code)
	}
}

func (c *conn) closeLocked(code protocol.CloseCode) {
	c.closed, c.code, c.said = true, code, make(chan struct{})
	if code == protocol.CloseSlow {
		// What is queued would not get through; the code should.
		c.queue, c.queued = nil, 0
	}
	c.startWriter()
}

func (c *conn) startWriter() {
	if !c.writing {
		c.writing = true
		c.srv.goroutines.Go(c.write)
	}
}

// write sends what is queued and returns. It is the only writer while it runs.
// When the connection is closed it says why; the reader closes the socket.
func (c *conn) write() {
	for {
		c.mu.Lock()
		batch, closed, code := c.queue, c.closed, c.code
		c.queue, c.queued = nil, 0
		if len(batch) == 0 {
			c.writing = closed // nobody writes after the close frame
			c.mu.Unlock()
			if closed && code != 0 {
				c.writeClose(code)
				close(c.said)
			}
			return
		}
		c.mu.Unlock()
		if err := c.writeBatch(batch); err != nil {
			c.abandon()
			return
		}
	}
}

func (c *conn) writeBatch(batch [][]byte) error {
	for _, b := range batch {
		if err := c.ws.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout)); err != nil {
			return err
		}
		if err := c.ws.WriteMessage(websocket.TextMessage, b); err != nil {
			return err
		}
		c.srv.metrics.bytesOut.Add(float64(len(b)))
	}
	return nil
}

// abandon closes the socket of a peer that does not take what is written.
func (c *conn) abandon() {
	c.mu.Lock()
	if !c.closed {
		c.closed, c.code, c.said = true, protocol.CloseSlow, make(chan struct{})
	}
	c.queue, c.queued = nil, 0
	if c.code != 0 {
		close(c.said)
	}
	c.mu.Unlock()
	c.ws.Close()
}

func (c *conn) writeClose(code protocol.CloseCode) {
	by := time.Now().Add(closeGrace)
	b := websocket.FormatCloseMessage(int(code), code.String())
	if err := c.ws.WriteControl(websocket.CloseMessage, b, by); err != nil {
		c.ws.Close()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeBy = by
	_ = c.ws.SetReadDeadline(by) // fails only if the socket is closed
}

// finish is called by the reader when it handles no more frames. It lets the
// peer answer the close frame and closes the socket.
func (c *conn) finish() {
	c.mu.Lock()
	left := !c.closed
	if left {
		c.closed = true
		c.queue, c.queued = nil, 0
	}
	c.mu.Unlock()
	if !left {
		<-c.said // each write has a deadline
	}
	for !left {
		if _, err := c.read(2 * closeGrace); err != nil {
			break
		}
	}
	c.ws.Close()
}

// read returns the next text frame. Silence for longer than patience is an
// error.
func (c *conn) read(patience time.Duration) ([]byte, error) {
	if err := c.waitFor(patience); err != nil {
		return nil, err
	}
	kind, b, err := c.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	if kind != websocket.TextMessage {
		return nil, errNotText
	}
	return b, nil
}

func (c *conn) waitFor(patience time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closeBy.IsZero() {
		return c.ws.SetReadDeadline(c.closeBy)
	}
	return c.ws.SetReadDeadline(time.Now().Add(patience))
}

var errNotText = errors.New("frame is not text")

// codeOfRead is why a connection whose read failed is closed. Of a peer that
// went away by itself it is 0.
func codeOfRead(err error) protocol.CloseCode {
	var ne net.Error
	switch {
	case errors.Is(err, errNotText), errors.Is(err, websocket.ErrReadLimit):
		return protocol.CloseProtocol
	case errors.As(err, &ne) && ne.Timeout():
		return protocol.CloseHeartbeat
	}
	return 0
}

// closedAs is the reason that logs and metrics give for the end of the
// connection.
func (c *conn) closedAs() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == 0 {
		return "peer"
	}
	return c.code.String()
}
