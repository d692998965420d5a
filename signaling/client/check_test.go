package client

import (
	"testing"
	"time"

	"switchboard/signaling/protocol"
)

// A client that doubts its connection asks the server: with an answer it stays, without
// one it soon has another connection.
func TestCheck(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		c.Check()
		p.next(protocol.TypePing)
		p.tell(0, &protocol.Pong{})
		time.Sleep(2 * checkWithin)
		noEvent[Disconnected](t, c)

		begun := time.Now()
		c.Check()
		p.next(protocol.TypePing)
		wantEvent[Disconnected](t, c)
		if took := time.Since(begun); took != checkWithin {
			t.Errorf("it was given up after %v, want %v", took, checkWithin)
		}
		s.accept().welcome(protocol.Welcome{Session: "s2"})
		wantEvent[Connected](t, c)
	})
}
