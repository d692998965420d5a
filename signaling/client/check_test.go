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

// A request that goes unanswered has the connection checked: one that is dead one way is
// left for another.
func TestLateAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		begun := time.Now()
		asked := make(chan error, 1)
		go func() { _, err := c.Presence(t.Context(), "+14155550102"); asked <- err }()
		p.next(protocol.TypePresenceGet)
		p.next(protocol.TypePing)
		p.tell(0, &protocol.Pong{}) // it is only slow
		p.next(protocol.TypePing)
		wantEvent[Disconnected](t, c)
		if took := time.Since(begun); took != 2*checkAfter+checkWithin {
			t.Errorf("it was given up after %v, want %v", took, 2*checkAfter+checkWithin)
		}
		if err := <-asked; err == nil {
			t.Error("there was no answer, and no error")
		}
		s.accept().welcome(protocol.Welcome{Session: "s2"})
		wantEvent[Connected](t, c)
	})
}
