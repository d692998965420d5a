// Package memnet is a network of one listener, in memory. Its connections are
// those of net.Pipe, so a server and its clients run inside a testing/synctest
// bubble, where an hour costs a millisecond.
package memnet

import (
	"context"
	"net"
	"sync"
)

// Listener is a net.Listener that is dialled with [Listener.Dial]. The zero
// value is not ready; use [Listen].
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Listen returns a listener.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept waits for a dialler; after Close it returns net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close lets no more connections in. Those that are there go on.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr is a name that nobody can dial elsewhere.
func (l *Listener) Addr() net.Addr { return addr{} }

// Dial connects to the listener. It has the shape of
// websocket.Dialer.NetDialContext; network and address are not looked at.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

type addr struct{}

func (addr) Network() string { return "memnet" }
func (addr) String() string  { return "memnet:0" }
