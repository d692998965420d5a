package relay

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// failing is a listener that fails as one does when no file is free.
type failing struct {
	net.Listener
	failures atomic.Int32
}

func (f *failing) Accept() (net.Conn, error) {
	if f.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestAcceptsAfterErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{Listener: ln}
	f.failures.Store(5)
	g := testGuard()
	l := newStreamListener(f, overTCP, nil, g, newConnections(Default().Limits, g.metrics))
	l.start()
	defer l.connections.closeAll()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer time.AfterFunc(10*time.Second, func() { l.Close() }).Stop()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	accepted.Close()
	if n := f.failures.Load(); n >= 0 {
		t.Errorf("%d failures left", n)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	l.accepting.Wait()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

// The wait between two tries ends with the listener.
func TestCloseEndsTheWaitForFiles(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{Listener: ln}
	f.failures.Store(1 << 30)
	g := testGuard()
	l := newStreamListener(f, overTCP, nil, g, newConnections(Default().Limits, g.metrics))
	l.start()
	l.Close()
	f.failures.Store(0)
	done := make(chan struct{})
	go func() { l.accepting.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("still accepting")
	}
}

// Errors of a socket do not end who reads it.
func TestBackoffGrowsAndEnds(t *testing.T) {
	var b backoff
	end := make(chan struct{})
	close(end)
	for range 20 {
		b.wait(end)
	}
	if b.next != maxBackoff {
		t.Errorf("waits %v", b.next)
	}
	if b.reset(); b.next != 0 {
		t.Error("not reset")
	}
}
