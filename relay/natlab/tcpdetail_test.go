package natlab_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/nat"
)

// segments counts the data that a host sends over TCP.
type segments struct {
	mu                  sync.Mutex
	bytes, count, again int
	lost                []int // which of the data were, by link
	seen                map[uint32]bool
}

func watch(w *natlab.World, host string) *segments {
	s := &segments{seen: make(map[uint32]bool)}
	w.Trace(func(p natlab.Packet) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case p.Proto != nat.TCP || len(p.Payload) == 0:
		case p.What == natlab.Sent && p.Node == host:
			s.count++
			s.bytes += len(p.Payload)
			if s.seen[p.Seq] {
				s.again++
			}
			s.seen[p.Seq] = true
		case p.Why == natlab.LinkLoss:
			s.lost = append(s.lost, len(s.seen))
		}
	})
	return s
}

// A single loss is repaired by one segment, a round trip later (RFC 5681 section 3.2).
func TestTCPFastRetransmit(t *testing.T) {
	found := 0
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			w, client, server := pair(t, seed, natlab.Link{Delay: 10 * time.Millisecond, Loss: 0.01})
			defer w.Close()
			s := watch(w, "client")
			losses := w.Counts().Dropped(natlab.LinkLoss)
			took := transfer(t, client, server, 10*1400) // one window
			s.mu.Lock()
			defer s.mu.Unlock()
			lost := w.Counts().Dropped(natlab.LinkLoss) - losses
			if lost != 1 || len(s.lost) != 1 || s.again > 0 && took > 200*time.Millisecond && s.lost[0] == 10 {
				return
			}
			if s.again > 1 {
				t.Errorf("seed %d: %d segments were sent again for one loss", seed, s.again)
			}
			if took < 150*time.Millisecond {
				found++
			}
		})
	}
	if found < 3 {
		t.Errorf("%d losses were repaired in time", found)
	}
}

// The sender stops where the far end has no room, and goes on at once when it has.
func TestTCPWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, client, server := pair(t, 1, natlab.Link{Delay: time.Millisecond})
		defer w.Close()
		s := watch(w, "client")
		go func() {
			client.Write(make([]byte, 1<<20))
			client.Close()
		}()
		time.Sleep(time.Minute)
		s.mu.Lock()
		if s.bytes < 200<<10 || s.bytes > 300<<10 {
			t.Errorf("%d bytes were sent to somebody who does not read", s.bytes)
		}
		s.mu.Unlock()
		time.Sleep(time.Hour)
		start := time.Now()
		if n, err := io.Copy(io.Discard, server); n != 1<<20 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("it took %v to go on", took)
		}
	})
}

// Without an answer, segments are sent ever more rarely (RFC 6298 section 5.5).
func TestTCPBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, client, _ := pair(t, 1, natlab.Link{})
		defer w.Close()
		s := watch(w, "client")
		w.Host("server").Crash()
		client.Write([]byte("x"))
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("%v, want timed out", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.count < 10 || s.count > 40 {
			t.Errorf("sent %d times in two minutes", s.count)
		}
	})
}

// An idle connection whose far end has crashed is found dead.
func TestTCPKeepAlive(t *testing.T) {
	for _, on := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w, client, _ := pair(t, 1, natlab.Link{})
			defer w.Close()
			if !on {
				client.(interface{ SetKeepAlive(bool) error }).SetKeepAlive(false)
			}
			time.Sleep(24 * time.Hour) // with both there, nothing happens
			w.Host("server").Crash()
			start := time.Now()
			client.SetReadDeadline(start.Add(time.Hour))
			_, err := client.Read(make([]byte, 1))
			if errors.Is(err, syscall.ETIMEDOUT) != on {
				t.Errorf("keep-alive %t: %v", on, err)
			}
			if took := time.Since(start); on && took > 3*time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestTCPWriteToClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, client, server := pair(t, 1, natlab.Link{Delay: time.Millisecond})
		defer w.Close()
		server.Close()
		time.Sleep(time.Second)
		if _, err := client.Write([]byte("x")); err != nil {
			t.Errorf("the first: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the second: %v, want a reset", err)
		}
	})
}

// A port is free again once the connection is forgotten, also if the far end never closes.
func TestTCPPortIsFreed(t *testing.T) {
	for name, closes := range map[string]bool{"both close": true, "one closes": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *natlab.World) {
				client, server := w.Internet().AddHost("client"), w.Internet().AddHost("server")
				l, err := server.Listen("tcp", ":80")
				if err != nil {
					t.Fatal(err)
				}
				dial := func() (net.Conn, error) {
					return client.Net().CreateDialer(&net.Dialer{LocalAddr: &net.TCPAddr{Port: 1234}}).Dial("tcp4", "server:80")
				}
				c, err := dial()
				if err != nil {
					t.Fatal(err)
				}
				in, _ := l.Accept()
				c.Close()
				if closes {
					in.Close()
				}
				for range 2 { // as stragglers may come
					if _, err := dial(); !errors.Is(err, syscall.EADDRINUSE) {
						t.Errorf("early: %v, want in use", err)
					}
					time.Sleep(50 * time.Second)
				}
				time.Sleep(50 * time.Second)
				if _, err := dial(); err != nil {
					t.Errorf("after two minutes: %v", err)
				}
			})
		})
	}
}
