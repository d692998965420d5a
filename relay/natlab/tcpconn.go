package natlab

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/pion/transport/v5"
)

var _ transport.TCPConn = (*tcpConn)(nil)

func (c *tcpConn) Read(b []byte) (int, error) {
	n, err := c.read(b)
	if err != nil && err != io.EOF {
		err = c.error("read", err)
	}
	return n, err
}

func (c *tcpConn) read(b []byte) (int, error) {
	w := c.h.w
	w.lock()
	defer w.unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case c.readBy.passed:
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case c.readClosed:
			return 0, io.EOF
		case c.in.size > 0:
			n := c.in.read(b)
			if c.state == established && !c.in.fin && c.in.opened() {
				c.sendACK()
			}
			return n, nil
		case c.in.fin:
			return 0, io.EOF
		case c.state == ended:
			return 0, c.ended()
		}
		w.wait(c.changed)
	}
}

// ended is why a connection that has ended did.
func (c *tcpConn) ended() error {
	if c.err == nil {
		return syscall.EPIPE
	}
	return c.err
}

func (c *tcpConn) Write(b []byte) (int, error) {
	n, err := c.write(b)
	if err != nil {
		err = c.error("write", err)
	}
	return n, err
}

func (c *tcpConn) write(b []byte) (n int, err error) {
	w := c.h.w
	w.lock()
	defer w.unlock()
	for {
		switch {
		case c.closed:
			return n, net.ErrClosed
		case c.writeBy.passed:
			return n, os.ErrDeadlineExceeded
		case c.writeClosed:
			return n, syscall.EPIPE
		case c.state == ended:
			return n, c.ended()
		case n == len(b):
			return n, nil
		}
		if m := min(c.out.room(), len(b)-n); m > 0 {
			c.out.add(b[n : n+m])
			n += m
			if c.state == established {
				c.output()
			}
			continue
		}
		w.wait(c.changed)
	}
}

// ReadFrom is that of io.ReaderFrom.
func (c *tcpConn) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}

// Close has what was written sent in the background, for as long as that takes. With
// data unread, or after SetLinger(0), the connection is reset.
func (c *tcpConn) Close() error {
	c.h.w.lock()
	defer c.h.w.unlock()
	if c.closed {
		return c.error("close", net.ErrClosed)
	}
	c.close()
	return nil
}

func (c *tcpConn) close() {
	c.closed = true
	c.readBy.set(time.Time{})
	c.writeBy.set(time.Time{})
	c.changed.Broadcast()
	switch {
	case c.state == ended, c.state == timeWaiting:
	case c.state == synSent:
		c.end(net.ErrClosed)
	case c.noLinger || c.in.size > 0 || c.state == synReceived:
		c.reset()
	default:
		c.closeWrite()
		c.finished()
	}
}

// crash ends this side without a word.
func (c *tcpConn) crash() {
	c.closed = true
	c.readBy.set(time.Time{})
	c.writeBy.set(time.Time{})
	c.end(net.ErrClosed)
}

func (c *tcpConn) CloseWrite() error {
	c.h.w.lock()
	defer c.h.w.unlock()
	if c.closed || c.state == ended {
		return c.error("close", c.closedBy())
	}
	c.closeWrite()
	return nil
}

// closeWrite queues the FIN.
func (c *tcpConn) closeWrite() {
	if c.writeClosed {
		return
	}
	c.writeClosed = true
	c.out.addFIN()
	c.changed.Broadcast()
	if c.state == established {
		c.output()
	}
}

func (c *tcpConn) CloseRead() error {
	c.h.w.lock()
	defer c.h.w.unlock()
	if c.closed || c.state == ended {
		return c.error("close", c.closedBy())
	}
	c.readClosed = true
	c.in.data, c.in.size = nil, 0
	c.changed.Broadcast()
	return nil
}

func (c *tcpConn) closedBy() error {
	if c.closed {
		return net.ErrClosed
	}
	return syscall.ENOTCONN
}

func (c *tcpConn) LocalAddr() net.Addr  { return tcpAddr(c.key.local) }
func (c *tcpConn) RemoteAddr() net.Addr { return tcpAddr(c.key.remote) }

func (c *tcpConn) SetDeadline(t time.Time) error { return c.setDeadlines(t, c.readBy, c.writeBy) }

func (c *tcpConn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, c.readBy) }

func (c *tcpConn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, c.writeBy) }

func (c *tcpConn) setDeadlines(t time.Time, of ...*deadline) error {
	c.h.w.lock()
	defer c.h.w.unlock()
	if c.closed {
		return c.error("set", net.ErrClosed)
	}
	for _, d := range of {
		d.set(t)
	}
	return nil
}

// SetLinger has Close reset the connection with 0, and else does nothing.
func (c *tcpConn) SetLinger(sec int) error {
	c.h.w.lock()
	defer c.h.w.unlock()
	c.noLinger = sec == 0
	return nil
}

// SetKeepAlive is on at first, as in the package net.
func (c *tcpConn) SetKeepAlive(on bool) error {
	if !on {
		return c.SetKeepAlivePeriod(0)
	}
	return c.SetKeepAlivePeriod(keepAlive)
}

// SetKeepAlivePeriod is at first 15 s; 0 is never.
func (c *tcpConn) SetKeepAlivePeriod(d time.Duration) error {
	c.h.w.lock()
	defer c.h.w.unlock()
	if c.closed {
		return c.error("set", net.ErrClosed)
	}
	c.idle = max(d, 0)
	c.setTimer()
	return nil
}

// SetNoDelay does nothing: what is written is sent at once.
func (c *tcpConn) SetNoDelay(bool) error { return nil }

// SetReadBuffer does nothing.
func (c *tcpConn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing.
func (c *tcpConn) SetWriteBuffer(int) error { return nil }

func (c *tcpConn) error(op string, err error) error {
	return opError(op, c.network, c.LocalAddr(), c.RemoteAddr(), err)
}
