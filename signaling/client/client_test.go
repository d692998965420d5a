package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"switchboard/directory/e164"
	"switchboard/signaling/internal/memnet"
	"switchboard/signaling/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is the other side, played by hand.
type server struct {
	t     *testing.T
	ln    *memnet.Listener
	conns chan *peer

	// How long the probes of regions take, and how many came, by host. Those of
	// others are sent elsewhere.
	mu    sync.Mutex
	trips map[string]time.Duration
	pings map[string]int
}

// peer is one connection as the server has it.
type peer struct {
	t      *testing.T
	ws     *websocket.Conn
	frames chan protocol.Frame // closed when the client is gone
	hello  protocol.Hello
	host   string // that the client connected to
	ended  error  // once frames is closed
}

func inBubble(t *testing.T, f func(t *testing.T, s *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &server{t: t, ln: memnet.Listen(), conns: make(chan *peer, 16), pings: map[string]int{}}
		up := websocket.Upgrader{Subprotocols: []string{protocol.Subprotocol}}
		h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == protocol.PathPing {
				s.ping(w, r)
				return
			}
			ws, err := up.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			p := &peer{t: t, ws: ws, frames: make(chan protocol.Frame, 1024), host: r.Host}
			s.conns <- p
			p.read()
		})}
		go h.Serve(s.ln)
		t.Cleanup(func() { h.Close(); s.ln.Close() })
		f(t, s)
	})
}

func (s *server) ping(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.pings[r.Host]++
	took, ok := s.trips[r.Host]
	if s.pings[r.Host]%2 == 0 {
		took += 7 * time.Millisecond // something was in its way
	}
	s.mu.Unlock()
	if !ok {
		http.Redirect(w, r, "http://eu"+protocol.PathPing, http.StatusFound)
		return
	}
	select {
	case <-time.After(took):
		w.WriteHeader(http.StatusNoContent)
	case <-r.Context().Done():
	}
}

func (p *peer) read() {
	defer close(p.frames)
	defer p.ws.Close()
	for {
		_, b, err := p.ws.ReadMessage()
		if err != nil {
			p.ended = err
			return
		}
		f, err := protocol.DecodeFrame(b)
		if err != nil {
			p.t.Errorf("the client sent %s: %v", b, err)
			return
		}
		p.frames <- f
	}
}

func (s *server) options() Options {
	return Options{URL: "http://server", Token: "token", Dialer: &websocket.Dialer{NetDialContext: s.ln.Dial}}
}

// accept waits for a connection and its hello.
func (s *server) accept() *peer {
	s.t.Helper()
	select {
	case p := <-s.conns:
		f := p.next(protocol.TypeHello)
		if err := json.Unmarshal(f.D, &p.hello); err != nil {
			s.t.Fatal(err)
		}
		return p
	case <-time.After(5 * time.Minute):
		s.t.Fatal("no connection in five minutes")
		return nil
	}
}

// welcome answers the hello.
func (p *peer) welcome(w protocol.Welcome) {
	p.t.Helper()
	w.Key, w.HeartbeatMS = w.Session+"-key", 30_000
	if w.Resumed == "" {
		w.Resumed = protocol.ResumedNone
	}
	w.Number = number(p.t, "+14155550101")
	p.tell(0, &w)
}

func (p *peer) tell(s uint64, b protocol.Body) {
	p.t.Helper()
	raw, err := protocol.Encode(protocol.Frame{S: s}, b)
	if err != nil {
		p.t.Fatal(err)
	}
	p.raw(raw)
}

func (p *peer) raw(raw []byte) {
	p.t.Helper()
	if err := p.ws.WriteMessage(websocket.TextMessage, raw); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) ok(re string, v any) {
	p.t.Helper()
	raw, err := protocol.EncodeReply(re, v)
	if err != nil {
		p.t.Fatal(err)
	}
	p.raw(raw)
}

// next returns the next frame of a type; others are passed over.
func (p *peer) next(t protocol.Type) protocol.Frame {
	p.t.Helper()
	timeout := time.After(5 * time.Minute)
	for {
		select {
		case f, ok := <-p.frames:
			if !ok {
				p.t.Fatalf("the client left before %s", t)
			}
			if f.T == t {
				return f
			}
		case <-timeout:
			p.t.Fatalf("no %s in five minutes", t)
		}
	}
}

func (p *peer) close(code protocol.CloseCode) {
	_ = p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(code), code.String()), time.Now().Add(time.Second))
	p.ws.Close()
}

// closed waits for the client to leave, and returns the code that it said.
func (p *peer) closed() int {
	p.t.Helper()
	timeout := time.After(5 * time.Minute)
	for {
		select {
		case _, ok := <-p.frames:
			if ok {
				continue
			}
			var ce *websocket.CloseError
			if !errors.As(p.ended, &ce) {
				p.t.Fatalf("the client left with %v", p.ended)
			}
			return ce.Code
		case <-timeout:
			p.t.Fatal("the client did not leave in five minutes")
		}
	}
}

func number(t *testing.T, s string) e164.Number {
	t.Helper()
	n, err := e164.Parse(s, "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// dial opens a client, welcomed to session s1.
func dial(t *testing.T, s *server) (*Client, *peer) {
	t.Helper()
	type result struct {
		c   *Client
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := Dial(t.Context(), s.options())
		done <- result{c, err}
	}()
	p := s.accept()
	p.welcome(protocol.Welcome{Session: "s1"})
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.c.Close() })
	wantEvent[Connected](t, r.c)
	return r.c, p
}

// wantEvent returns the next event of type E; others are passed over.
func wantEvent[E Event](t *testing.T, c *Client) E {
	t.Helper()
	timeout := time.After(5 * time.Minute)
	for {
		select {
		case e, ok := <-c.Events():
			if !ok {
				t.Fatalf("the client ended: %v", c.Err())
			}
			if want, ok := e.(E); ok {
				return want
			}
		case <-timeout:
			t.Fatal("no such event in five minutes")
		}
	}
}

func noEvent[E Event](t *testing.T, c *Client) {
	t.Helper()
	synctest.Wait()
	for len(c.events) > 0 {
		if e, is := (<-c.Events()).(E); is {
			t.Fatalf("got %+v, want none", e)
		}
	}
}

func incoming(call string) *protocol.CallIncoming {
	n, _ := e164.Parse("+14155550102", "")
	return &protocol.CallIncoming{Call: call, From: n, Media: []protocol.Media{protocol.Audio}, SDP: "v=0", RingMS: 45000}
}

func TestHeartbeat(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		start := time.Now()
		p.next(protocol.TypePing)
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("the first ping came after %v", d)
		}
		// A server that is silent is left, and another connection resumes.
		d := wantEvent[Disconnected](t, c)
		if since := time.Since(start); since < 75*time.Second || since > 80*time.Second {
			t.Errorf("left after %v (%v), want 75s", since, d.Err)
		}
		p = s.accept()
		if r := p.hello.Resume; r == nil || r.Session != "s1" || r.Key != "s1-key" {
			t.Errorf("hello = %+v", p.hello)
		}
	})
}

func TestAcknowledgesAndDropsRepeats(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		start := time.Now()
		p.tell(1, incoming("c1"))
		p.tell(1, incoming("c1"))
		if f := p.next(protocol.TypeAck); f.A != 1 || time.Since(start) > time.Second {
			t.Errorf("acknowledged %d after %v", f.A, time.Since(start))
		}
		wantEvent[Incoming](t, c)
		noEvent[Incoming](t, c)
		start = time.Now()
		for i := range ackAfter {
			p.tell(uint64(i+2), &protocol.CallState{Call: "c1", State: protocol.Ringing})
		}
		if f := p.next(protocol.TypeAck); time.Since(start) != 0 || f.A < 2 {
			t.Errorf("many frames were acknowledged up to %d after %v", f.A, time.Since(start))
		}
	})
}

func TestResume(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		p.tell(1, incoming("c1"))
		k := wantEvent[Incoming](t, c).Call
		p.ws.Close()
		p = s.accept()
		if p.hello.Resume == nil || p.hello.Resume.S != 1 {
			t.Fatalf("hello = %+v", p.hello.Resume)
		}
		p.welcome(protocol.Welcome{Session: "s1", Resumed: protocol.ResumedFull})
		p.tell(2, &protocol.CallEnded{Call: "c1", Reason: protocol.ReasonCanceled})
		if e, err := k.Next(t.Context()); err != nil || e.(Ended).Reason != protocol.ReasonCanceled {
			t.Errorf("%+v, %v", e, err)
		}
		if _, err := k.Next(t.Context()); !errors.Is(err, ErrCallOver) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// When the session is new, calls that the server does not know are over, those
// that it knows are taken up, and nothing that was told is told again.
func TestResumeByState(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		p.tell(1, incoming("gone"))
		p.tell(2, incoming("stays"))
		p.tell(3, &protocol.CallCandidates{Call: "stays", Gen: "g", N: 1, End: true})
		gone, stays := wantEvent[Incoming](t, c).Call, wantEvent[Incoming](t, c).Call
		p.ws.Close()
		p = s.accept()
		batch := func(n int) protocol.CallCandidates {
			return protocol.CallCandidates{Call: "stays", Gen: "g", N: n, End: true}
		}
		p.welcome(protocol.Welcome{Session: "s2", Resumed: protocol.ResumedState, Calls: []protocol.CallSnapshot{
			{Call: "stays", State: protocol.Ringing, Role: protocol.Callee, Candidates: []protocol.CallCandidates{batch(1), batch(2)}},
			{Call: "new", State: protocol.Ringing, Role: protocol.Callee, Peer: number(t, "+14155550103"), SDP: "v=0", RingMS: 45000},
		}})
		if k := wantEvent[Incoming](t, c).Call; k.ID != "new" || k.Offer() != "v=0" || k.Peer().E164() != "+14155550103" {
			t.Errorf("taken up: %+v", k)
		}
		if e, err := gone.Next(t.Context()); err != nil || e.(Ended).Reason != protocol.ReasonConnectionLost {
			t.Errorf("the call that is gone: %+v, %v", e, err)
		}
		for _, n := range []int{1, 2} {
			if e, err := stays.Next(t.Context()); err != nil || e.(Candidates).N != n {
				t.Errorf("candidates: %+v, %v; want %d", e, err, n)
			}
		}
		// The numbers of the new session begin at 1.
		p.tell(1, &protocol.CallEnded{Call: "stays", Reason: protocol.ReasonHangup})
		for {
			e, err := stays.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := e.(Ended); ok {
				break
			}
		}
	})
}

// Intents are sent again, with the same ids, until they are answered.
func TestIntentsSurviveACut(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		p.tell(1, incoming("c1"))
		k := wantEvent[Incoming](t, c).Call
		sent, answered, presence := make(chan error, 1), make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := c.Send(t.Context(), "m1", "+14155550102", "hello")
			sent <- err
		}()
		first := p.next(protocol.TypeMessageSend)
		go func() { answered <- k.Answer(t.Context(), "v=0") }()
		p.next(protocol.TypeCallAnswer)
		go func() {
			_, err := c.Presence(t.Context(), "+14155550102")
			presence <- err
		}()
		p.next(protocol.TypePresenceGet)
		p.ws.Close()
		if err := <-presence; !errors.Is(err, ErrDisconnected) {
			t.Errorf("a request that is no intent: %v", err)
		}
		p = s.accept()
		p.welcome(protocol.Welcome{Session: "s1", Resumed: protocol.ResumedFull})
		again := p.next(protocol.TypeMessageSend)
		if again.ID != first.ID || string(again.D) != string(first.D) {
			t.Errorf("sent %s %s and then %s %s", first.ID, first.D, again.ID, again.D)
		}
		p.ok(again.ID, &protocol.MessageStored{ID: "m1", Time: 1})
		if err := <-sent; err != nil {
			t.Error(err)
		}
		p.ok(p.next(protocol.TypeCallAnswer).ID, &protocol.CallReply{Call: "c1"})
		if err := <-answered; err != nil {
			t.Error(err)
		}
	})
}

func TestHangupWhileDisconnected(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		p.tell(1, incoming("c1"))
		k := wantEvent[Incoming](t, c).Call
		p.ws.Close()
		wantEvent[Disconnected](t, c)
		done := make(chan error, 1)
		go func() { done <- k.Hangup(t.Context(), "") }()
		p = s.accept()
		p.welcome(protocol.Welcome{Session: "s1", Resumed: protocol.ResumedFull})
		p.ok(p.next(protocol.TypeCallHangup).ID, &protocol.CallReply{Call: "c1", State: protocol.Ended})
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRefusal(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		done := make(chan error, 1)
		go func() {
			_, err := c.Send(t.Context(), "m1", "+14155550102", "x")
			done <- err
		}()
		f := p.next(protocol.TypeMessageSend)
		raw, err := protocol.Encode(protocol.Frame{Re: f.ID}, protocol.NewError(protocol.CodeMailboxFull, "full"))
		if err != nil {
			t.Fatal(err)
		}
		p.raw(raw)
		if err := <-done; protocol.CodeOf(err) != protocol.CodeMailboxFull {
			t.Errorf("refused with %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Send(ctx, "m2", "+14155550102", "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without an answer: %v", err)
		}
		if _, err := c.Send(t.Context(), "not an id", "+14155550102", "x"); protocol.CodeOf(err) != protocol.CodeInvalid {
			t.Errorf("a wrong id: %v", err)
		}
	})
}

func TestCloseCodes(t *testing.T) {
	for _, spec := range protocol.CloseCodes {
		t.Run(spec.Name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				c, p := dial(t, s)
				p.close(spec.Code)
				if spec.Code.Reconnect() {
					s.accept()
					return
				}
				for range c.Events() { // until it is closed
				}
				var end *EndError
				if !errors.As(c.Err(), &end) || end.Code != spec.Code {
					t.Errorf("ended with %v", c.Err())
				}
				if _, err := c.Presence(t.Context(), "+14155550102"); !errors.As(err, &end) {
					t.Errorf("a request afterwards: %v", err)
				}
				time.Sleep(time.Hour)
				if len(s.conns) != 0 {
					t.Error("it connected again")
				}
			})
		})
	}
}

func TestGoingAway(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		_, p := dial(t, s)
		p.tell(0, &protocol.GoingAway{AfterMS: 20_000})
		start := time.Now()
		p.close(protocol.CloseGoingAway)
		s.accept()
		if d := time.Since(start); d < 20*time.Second || d > 21*time.Second {
			t.Errorf("back after %v, want 20s", d)
		}
	})
}

func TestBackoff(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		p.ws.Close()
		for range 12 {
			if d := wantEvent[Disconnected](t, c); d.Retry > 15*time.Second {
				t.Errorf("waits %v", d.Retry)
			}
			(<-s.conns).ws.Close()
		}
	})
}

func TestDialRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		done := make(chan error, 1)
		go func() {
			_, err := Dial(t.Context(), s.options())
			done <- err
		}()
		p := s.accept()
		p.tell(0, protocol.NewError(protocol.CodeToken, "the token has expired"))
		p.close(protocol.CloseToken)
		err := <-done
		var end *EndError
		if !errors.As(err, &end) || protocol.CodeOf(err) != protocol.CodeToken {
			t.Errorf("refused with %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := Dial(ctx, s.options()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a server that says nothing: %v", err)
		}
		for _, o := range []Options{{}, {URL: "ftp://x", Token: "x"}, {URL: "http://x/path", Token: "x"}, {URL: "http://x"}} {
			if _, err := Dial(t.Context(), o); err == nil {
				t.Errorf("%+v was accepted", o)
			}
		}
	})
}

func mailItem(seq uint64, id string) *protocol.MailboxItem {
	n, _ := e164.Parse("+14155550102", "")
	return &protocol.MailboxItem{Seq: seq, Kind: protocol.KindMessage, ID: id, From: n, Body: "x"}
}

// Only what the program keeps is acknowledged, and nothing before what came
// earlier.
func TestMailbox(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		for i, id := range []string{"a", "b", "c"} {
			p.tell(0, mailItem(uint64(10*(i+1)), id))
		}
		p.tell(0, &protocol.MailboxDrained{Seq: 30, Missed: 1_700_000_000_000})
		a, b, z := wantEvent[Item](t, c), wantEvent[Item](t, c), wantEvent[Item](t, c)
		if d := wantEvent[Drained](t, c); d.Missed.UnixMilli() != 1_700_000_000_000 {
			t.Errorf("missed since %v", d.Missed)
		}
		b.Ack()
		z.Ack()
		time.Sleep(5 * time.Second)
		for len(p.frames) > 0 {
			if f := <-p.frames; f.T == protocol.TypeMailboxAck {
				t.Fatalf("acknowledged %s before the first item was kept", f.D)
			}
		}
		a.Ack()
		if f := p.next(protocol.TypeMailboxAck); string(f.D) != `{"seq":30}` {
			t.Errorf("acknowledged %s", f.D)
		}
		// A repeat is not shown, and acknowledged.
		p.ws.Close()
		p = s.accept()
		p.welcome(protocol.Welcome{Session: "s1", Resumed: protocol.ResumedFull})
		p.tell(0, mailItem(30, "c"))
		if f := p.next(protocol.TypeMailboxAck); string(f.D) != `{"seq":30}` {
			t.Errorf("acknowledged %s", f.D)
		}
		noEvent[Item](t, c)
		if n := c.Repeats(); n != 1 {
			t.Errorf("%d repeats, want 1", n)
		}
	})
}

// A server sends no more than so many items unacknowledged: whoever keeps many
// tells so at once, and few with other things.
func TestManyItemsAreAcknowledgedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		start := time.Now()
		for i := range uint64(keptAfter) {
			p.tell(0, mailItem(i+1, fmt.Sprint(i)))
			wantEvent[Item](t, c).Ack()
		}
		if f := p.next(protocol.TypeMailboxAck); string(f.D) != fmt.Sprintf(`{"seq":%d}`, keptAfter) || time.Since(start) > 0 {
			t.Errorf("acknowledged %s after %v", f.D, time.Since(start))
		}
	})
}

func TestInvite(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		f, done := invite(t, c, p, "c1")
		p.tell(1, &protocol.CallRinging{Call: "c1"}) // before the reply
		p.ok(f.ID, &protocol.CallInvited{Call: "c1", To: number(t, "+14155550102"), State: protocol.Trying})
		r := <-done
		if r.err != nil || r.k.Peer().E164() != "+14155550102" {
			t.Fatalf("%+v", r)
		}
		if e, err := r.k.Next(t.Context()); err != nil || e != (Ringing{}) {
			t.Errorf("%+v, %v", e, err)
		}
		p.tell(2, &protocol.CallAnswered{Call: "c1", SDP: "v=0 answer"})
		p.tell(3, &protocol.CallAnswered{Call: "c1", SDP: "v=0 answer"})
		p.tell(4, &protocol.CallEnded{Call: "c1", Reason: protocol.ReasonHangup})
		if e, _ := r.k.Next(t.Context()); e != (Answered{"v=0 answer"}) {
			t.Errorf("%+v", e)
		}
		if e, _ := r.k.Next(t.Context()); e.(Ended).Reason != protocol.ReasonHangup {
			t.Errorf("%+v", e)
		}
	})
}

// A pre-answer is told once, also when it is found in a snapshot.
func TestPreparedIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		f, done := invite(t, c, p, "c1")
		p.ok(f.ID, &protocol.CallInvited{Call: "c1", To: number(t, "+14155550102"), State: protocol.Trying})
		r := <-done
		p.tell(1, &protocol.CallRinging{Call: "c1", Waiting: true})
		p.tell(2, &protocol.CallPrepared{Call: "c1", SDP: "v=0 early"})
		p.tell(3, &protocol.CallPrepared{Call: "c1", SDP: "v=0 early"})
		p.tell(4, &protocol.CallAnswered{Call: "c1", SDP: "v=0 early"})
		for _, want := range []CallEvent{Ringing{Waiting: true}, Prepared{"v=0 early"}, Answered{"v=0 early"}} {
			if e, err := r.k.Next(t.Context()); e != want {
				t.Errorf("%+v, %v, want %+v", e, err, want)
			}
		}
		k := &Call{ID: "c2", Role: protocol.Caller, client: c}
		k.queue.init()
		c.mu.Lock()
		c.calls["c2"] = k
		c.mu.Unlock()
		c.takeUp([]protocol.CallSnapshot{{Call: "c2", Role: protocol.Caller, State: protocol.Ringing, Kind: "pranswer", SDP: "v=0 early"}})
		for _, want := range []CallEvent{Prepared{"v=0 early"}, Ringing{}} {
			if e, err := k.Next(t.Context()); e != want {
				t.Errorf("%+v, %v, want %+v", e, err, want)
			}
		}
	})
}

// Who has missed the answer, and finds a later description of the callee, is told
// that there was one.
func TestMissedAnswerIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		f, done := invite(t, c, p, "c1")
		p.ok(f.ID, &protocol.CallInvited{Call: "c1", To: number(t, "+14155550102"), State: protocol.Trying})
		r := <-done
		for range 2 { // the second tells nothing new but the state
			c.takeUp([]protocol.CallSnapshot{{Call: "c1", Role: protocol.Caller, State: protocol.Connecting, Kind: "offer", N: 1, SDP: "v=0 later"}})
		}
		later := protocol.CallDescribe{Call: "c1", N: 1, Kind: "offer", SDP: "v=0 later"}
		state := State{protocol.CallState{Call: "c1", State: protocol.Connecting}}
		for _, want := range []CallEvent{Answered{}, Description{later}, state, state} {
			if e, err := r.k.Next(t.Context()); e != want {
				t.Errorf("%+v, %v, want %+v", e, err, want)
			}
		}
	})
}

func TestPrepare(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		p.tell(1, &protocol.CallIncoming{Call: "c1", From: number(t, "+14155550102"), Media: []protocol.Media{protocol.Audio}, SDP: "v=0", RingMS: 45_000})
		k := wantEvent[Incoming](t, c).Call
		go func() {
			f := p.next(protocol.TypeCallPrepare)
			p.ok(f.ID, &protocol.CallPreparing{Call: "c1", State: protocol.Trying, Prepared: true})
		}()
		if prepared, err := k.Prepare(t.Context(), "v=0 early"); !prepared || err != nil {
			t.Errorf("%v, %v", prepared, err)
		}
	})
}

func TestCloseSaysBye(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		p.tell(0, mailItem(7, "a"))
		wantEvent[Item](t, c).Ack()
		go func() {
			p.next(protocol.TypeMailboxAck)
			p.next(protocol.TypeBye)
			p.close(protocol.CloseBye)
		}()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, ok := <-c.Events(); ok {
			t.Error("an event after Close")
		}
		if err := c.Err(); err == nil {
			t.Error("no reason after Close")
		}
		c.Close() // harmless
	})
}
