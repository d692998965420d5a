package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/protocol"
)

func (p *peer) refuse(re string, e *protocol.Error) {
	p.t.Helper()
	raw, err := protocol.Encode(protocol.Frame{Re: re}, e)
	if err != nil {
		p.t.Fatal(err)
	}
	p.raw(raw)
}

// An intent that the server refuses for the moment is tried again, not before
// the server asks, for a while.
func TestIntentsAreTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		sent := make(chan error, 1)
		send := func() {
			_, err := c.Send(t.Context(), "m1", "+14155550102", "hello")
			sent <- err
		}
		go send()
		start := time.Now()
		first := p.next(protocol.TypeMessageSend)
		p.refuse(first.ID, protocol.NewError(protocol.CodeRate, "slower").After(3*time.Second))
		again := p.next(protocol.TypeMessageSend)
		if d := time.Since(start); d < 3*time.Second || d > 3250*time.Millisecond || string(again.D) != string(first.D) {
			t.Errorf("again after %v: %s", d, again.D)
		}
		p.ok(again.ID, &protocol.MessageStored{ID: "m1"})
		if err := <-sent; err != nil {
			t.Error(err)
		}
		// Not for ever.
		start = time.Now()
		go send()
		go func() {
			for f := range p.frames {
				if f.T == protocol.TypeMessageSend {
					p.refuse(f.ID, protocol.NewError(protocol.CodeUnavailable, "away"))
				}
			}
		}()
		if err := <-sent; protocol.CodeOf(err) != protocol.CodeUnavailable {
			t.Error(err)
		}
		if d := time.Since(start); d > refusedFor {
			t.Errorf("given up after %v", d)
		}
	})
}

// Texts that are too many all arrive, in order and without many more frames, as
// soon as the server takes them.
func TestTooManyTexts(t *testing.T) {
	const texts, every = 200, 200 * time.Millisecond
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		start := time.Now()
		var taken []string
		frames := 0
		go func() {
			free := start // when the next is taken
			for f := range p.frames {
				if f.T != protocol.TypeMessageSend {
					continue
				}
				frames++
				if wait := time.Until(free); wait > 0 {
					p.refuse(f.ID, protocol.NewError(protocol.CodeRate, "slower").After(wait))
					continue
				}
				var m protocol.MessageSend
				if err := json.Unmarshal(f.D, &m); err != nil {
					t.Error(err)
				}
				free = time.Now().Add(every)
				taken = append(taken, m.Body)
				p.ok(f.ID, &protocol.MessageStored{ID: m.ID})
			}
		}()
		var all sync.WaitGroup
		for i := range texts {
			all.Go(func() {
				if _, err := c.Send(t.Context(), fmt.Sprint("m", i), "+14155550102", fmt.Sprint(i)); err != nil {
					t.Errorf("text %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if took := time.Since(start); took > texts*every*11/10 {
			t.Errorf("took %v", took)
		}
		if frames > 3*texts {
			t.Errorf("%d frames for %d texts", frames, texts)
		}
		for i, body := range taken {
			if body != fmt.Sprint(i) {
				t.Fatalf("text %s came at place %d", body, i)
			}
		}
	})
}

// A limit that stays for longer than anybody waits is an error at once.
func TestLimitForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		go func() {
			for f := range p.frames {
				if f.T == protocol.TypeMessageSend {
					p.refuse(f.ID, protocol.NewError(protocol.CodeRate, "strangers").After(40*time.Minute))
				}
			}
		}()
		start := time.Now()
		if _, err := c.Send(t.Context(), "m", "+14155550102", "x"); protocol.CodeOf(err) != protocol.CodeRate || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// As much as may wait without a connection is sent at once when there is one,
// and in order; more is refused.
func TestManyIntents(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		p.ws.Close()
		wantEvent[Disconnected](t, c)
		done := make(chan error, maxRequests)
		for i := range maxRequests {
			go func() {
				_, err := c.Send(t.Context(), fmt.Sprint("m", i), "+14155550102", "x")
				done <- err
			}()
		}
		synctest.Wait()
		if _, err := c.Send(t.Context(), "more", "+14155550102", "x"); !errors.Is(err, ErrTooMany) {
			t.Errorf("one more: %v", err)
		}
		if _, err := c.ICE(t.Context(), "c1"); !errors.Is(err, ErrDisconnected) {
			t.Errorf("a request that is no intent: %v", err)
		}
		p = s.accept()
		p.welcome(protocol.Welcome{Session: "s1", Resumed: protocol.ResumedFull})
		for i := range maxRequests {
			f := p.next(protocol.TypeMessageSend)
			if f.ID != fmt.Sprint(i+1) {
				t.Fatalf("request %s, want %d", f.ID, i+1)
			}
			p.ok(f.ID, &protocol.MessageStored{})
		}
		for range maxRequests {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What has been answered leaves nothing behind.
func TestRequestsAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		go func() {
			for f := range p.frames {
				if f.ID != "" {
					p.ok(f.ID, &protocol.Presence{})
				}
			}
		}()
		for range 4 * maxRequests {
			if _, err := c.Presence(t.Context(), "+14155550102"); err != nil {
				t.Fatal(err)
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.requests) > 0 || len(c.order) > 2*maxRequests {
			t.Errorf("%d requests, %d in order", len(c.requests), len(c.order))
		}
	})
}

// Somebody who writes without end does not stop a program that is busy.
func TestTypingDoesNotFill(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		n := number(t, "+14155550102")
		for range 2 * eventQueue {
			p.tell(0, &protocol.Typing{From: &n})
		}
		go func() { p.ok(p.next(protocol.TypePresenceGet).ID, &protocol.Presence{Online: true}) }()
		if got, err := c.Presence(t.Context(), "+14155550102"); err != nil || !got.Online {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestTokenOfTheNextConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		if p.hello.Token != "token" {
			t.Errorf("token %q", p.hello.Token)
		}
		c.SetToken("newer")
		p.ws.Close()
		if p = s.accept(); p.hello.Token != "newer" {
			t.Errorf("token %q", p.hello.Token)
		}
	})
}

func TestDialTellsWhatWentWrong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		go func() {
			for p := range s.conns {
				p.tell(0, protocol.NewError(protocol.CodeUnavailable, "away"))
				p.close(protocol.CloseInternal)
			}
		}()
		defer close(s.conns)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := Dial(ctx, s.options())
		if !errors.Is(err, context.DeadlineExceeded) || protocol.CodeOf(err) != protocol.CodeUnavailable {
			t.Error(err)
		}
	})
}

// The end of the client is the end of its calls' events, and says why.
func TestCallsOfAClientThatEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		p.tell(1, incoming("c1"))
		k := wantEvent[Incoming](t, c).Call
		p.close(protocol.CloseReplaced)
		var end *EndError
		if _, err := k.Next(t.Context()); !errors.As(err, &end) || end.Code != protocol.CloseReplaced {
			t.Errorf("%v", err)
		}
		if err := k.Hangup(t.Context(), ""); !errors.As(err, &end) {
			t.Errorf("%v", err)
		}
	})
}
