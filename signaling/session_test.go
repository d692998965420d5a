package signaling

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

func TestWelcome(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		p := n.connect(w.device(n, alice))
		m := p.welcome
		if m.Number.E164() != alice || m.Resumed != protocol.ResumedNone || m.HeartbeatMS != 30_000 ||
			m.Limits.Frame != protocol.MaxFrame || m.Key == "" || m.Session == "" || m.Calls == nil {
			t.Errorf("welcome = %+v", m)
		}
		if d := expect[*protocol.MailboxDrained](p); d.Seq != 0 {
			t.Errorf("drained = %+v", d)
		}
	})
}

func TestHelloRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		for name, c := range map[string]struct {
			first string
			code  protocol.CloseCode
		}{
			"silence":       {"", protocol.CloseHello},
			"garbage":       {"secret text", protocol.CloseProtocol},
			"another frame": {`{"t":"ping"}`, protocol.CloseProtocol},
			"no token":      {`{"t":"hello"}`, protocol.CloseProtocol},
			"wrong token":   {`{"t":"hello","d":{"token":"token-wrong"}}`, protocol.CloseToken},
			"server's type": {`{"t":"welcome"}`, protocol.CloseProtocol},
		} {
			p := n.dial()
			if c.first != "" {
				p.sendRaw([]byte(c.first))
			}
			if got := p.closedWith(); got != c.code {
				t.Errorf("%s: closed with %d, want %d", name, got, c.code)
			}
		}
	})
}

func TestHandshakeRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		for name, c := range map[string]struct {
			sub    []string
			origin string
			status int
		}{
			"no subprotocol":    {nil, "", http.StatusBadRequest},
			"other subprotocol": {[]string{"chat"}, "", http.StatusBadRequest},
			"foreign page":      {[]string{protocol.Subprotocol}, "https://elsewhere.example", http.StatusForbidden},
		} {
			d := websocket.Dialer{NetDialContext: n.ln.Dial, Subprotocols: c.sub}
			h := http.Header{}
			if c.origin != "" {
				h.Set("Origin", c.origin)
			}
			_, resp, err := d.DialContext(t.Context(), "ws://node"+protocol.SocketPath, h)
			if err == nil || resp == nil || resp.StatusCode != c.status {
				t.Errorf("%s: %v %v, want status %d", name, err, resp, c.status)
			}
		}
	})
}

func TestHeartbeat(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		token := w.device(n, alice)
		p := n.hello(&protocol.Hello{Token: token})
		for range 10 {
			time.Sleep(30 * time.Second)
			p.send(protocol.Frame{}, &protocol.Ping{})
			expect[*protocol.Pong](p)
		}
		start := time.Now()
		if code := p.closedWith(); code != protocol.CloseHeartbeat {
			t.Errorf("closed with %d", code)
		}
		if d := time.Since(start); d != 75*time.Second {
			t.Errorf("closed after %v, want 75s", d)
		}
	})
}

func TestResumeReplaysWhatWasNotAcknowledged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		token := w.device(n, alice)
		a, b := n.connect(token), n.connect(w.device(n, bob))
		ok[protocol.CallInvited](b, invite("c1", alice))
		in := expect[*protocol.CallIncoming](a)
		a.cut()
		time.Sleep(10 * time.Second)
		ok[protocol.CallReply](b, &protocol.CallCancel{Call: "c1"})
		resume := &protocol.Resume{Session: a.welcome.Session, Key: a.welcome.Key, S: 1}
		again := n.hello(&protocol.Hello{Token: token, Resume: resume})
		if again.welcome.Resumed != protocol.ResumedFull || again.welcome.Session != a.welcome.Session || again.welcome.Key == a.welcome.Key {
			t.Errorf("welcome = %+v", again.welcome)
		}
		f := again.next(func(f protocol.Frame) bool { return f.S > 0 })
		if f.T != protocol.TypeCallEnded || f.S != 2 {
			t.Errorf("first reliable frame after resume is %s s=%d; %s was acknowledged", f.T, f.S, in.Call)
		}
		// The old key is spent.
		third := n.hello(&protocol.Hello{Token: token, Resume: resume})
		if third.welcome.Resumed != protocol.ResumedState {
			t.Errorf("resumed %s with an old key", third.welcome.Resumed)
		}
		if code := again.closedWith(); code != protocol.CloseReplaced {
			t.Errorf("the replaced connection was closed with %d", code)
		}
	})
}

func TestResumeAfterTooLong(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		token := w.device(n, alice)
		a := n.connect(token)
		a.cut()
		time.Sleep(31 * time.Second)
		if s := n.server.Sessions(); s != 0 {
			t.Errorf("%d sessions are left", s)
		}
		again := n.hello(&protocol.Hello{Token: token, Resume: &protocol.Resume{Session: a.welcome.Session, Key: a.welcome.Key}})
		if again.welcome.Resumed != protocol.ResumedState {
			t.Errorf("resumed = %s, want state", again.welcome.Resumed)
		}
	})
}

// Somebody else's key does not open a session.
func TestResumeOfAnotherDevice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a := n.connect(w.device(n, alice))
		b := n.hello(&protocol.Hello{Token: w.device(n, bob), Resume: &protocol.Resume{Session: a.welcome.Session, Key: a.welcome.Key}})
		if b.welcome.Resumed != protocol.ResumedState || b.welcome.Session == a.welcome.Session {
			t.Errorf("welcome = %+v", b.welcome)
		}
	})
}

func TestNewerSessionReplaces(t *testing.T) {
	for _, where := range []string{"same node", "another node"} {
		t.Run(where, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n1 := w.node("n1")
				n2 := n1
				if where == "another node" {
					n2 = w.node("n2")
				}
				token := w.device(n1, alice)
				old := n1.connect(token)
				n2.connect(token)
				if code := old.closedWith(); code != protocol.CloseReplaced || code.Reconnect() {
					t.Errorf("closed with %d", code)
				}
				synctest.Wait()
				acct := w.tokens[token].Account
				if b, _ := n1.dir.Bindings(t.Context(), acct); len(b) != 1 || b[0].Node != n2.dir.Incarnation() {
					t.Errorf("bindings = %+v", b)
				}
			})
		})
	}
}

func TestBadFrames(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		p := n.connect(w.device(n, alice))
		p.sendRaw([]byte(`{"t":"no.such","id":"1"}`))
		if f := p.next(func(f protocol.Frame) bool { return f.Re == "1" }); !strings.Contains(string(f.D), "unsupported") {
			t.Errorf("an unknown type was answered %s", f.D)
		}
		p.sendRaw([]byte(`{"t":"call.hangup","id":"2","d":{"call":"secret text"}}`))
		f := p.next(func(f protocol.Frame) bool { return f.Re == "2" })
		if d := string(f.D); !strings.Contains(d, `\"call\"`) || strings.Contains(d, "secret") {
			t.Errorf("a wrong field was answered %s", d)
		}
		p.send(protocol.Frame{}, &protocol.Ping{}) // the session goes on
		expect[*protocol.Pong](p)
		p.sendRaw([]byte(`[1,2`))
		if code := p.closedWith(); code != protocol.CloseProtocol {
			t.Errorf("closed with %d", code)
		}

		p = n.connect(w.device(n, bob))
		if err := p.ws.WriteMessage(websocket.BinaryMessage, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if code := p.closedWith(); code != protocol.CloseProtocol {
			t.Errorf("a binary frame closed with %d", code)
		}

		p = n.connect(w.device(n, carol))
		p.sendRaw([]byte(`{"t":"ping","d":"` + strings.Repeat("x", protocol.MaxFrame) + `"}`))
		if code := p.closedWith(); code != websocket.CloseMessageTooBig {
			t.Errorf("an oversize frame closed with %d", code)
		}
	})
}

func TestFlood(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.FramesBurst = 10
		n := w.node("n1")
		p := n.connect(w.device(n, alice))
		for range 11 {
			p.send(protocol.Frame{ID: "x"}, &protocol.Ping{})
		}
		f := p.next(func(f protocol.Frame) bool { return f.T == protocol.TypeErr })
		if !strings.Contains(string(f.D), `"rate_limited"`) || !strings.Contains(string(f.D), `"after_ms"`) {
			t.Errorf("limited with %s", f.D)
		}
		time.Sleep(time.Second) // a client that waits is let on
		p.send(protocol.Frame{ID: "y"}, &protocol.Ping{})
		p.next(func(f protocol.Frame) bool { return f.Re == "y" && f.T == protocol.TypeOK })
		go func() { // one that does not is not
			for range 1000 {
				if p.ws.WriteMessage(websocket.TextMessage, []byte(`{"t":"ping"}`)) != nil {
					return
				}
			}
		}()
		if code := p.closedWith(); code != protocol.CloseFlood {
			t.Errorf("closed with %d", code)
		}
	})
}

// A client that acknowledges nothing is closed, and nobody else notices.
func TestSlowClient(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Limits.UnackedFrames = 16
		w.config.Limits.InvitesBurst = 100
		n := w.node("n1")
		slow, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		for i := range 9 {
			id := string(rune('a' + i))
			ok[protocol.CallInvited](b, invite(id, alice))
			ok[protocol.CallReply](b, &protocol.CallCancel{Call: id})
			b.send(protocol.Frame{A: b.lastS}, &protocol.Ack{})
		}
		if code := slow.closedWith(); code != protocol.CloseSlow || !code.Reconnect() {
			t.Errorf("closed with %d", code)
		}
		b.send(protocol.Frame{}, &protocol.Ping{})
		expect[*protocol.Pong](b)
	})
}

func TestByeEndsTheSession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		token := w.device(n, alice)
		p := n.connect(token)
		p.send(protocol.Frame{}, &protocol.Bye{})
		if code := p.closedWith(); code != protocol.CloseBye {
			t.Errorf("closed with %d", code)
		}
		synctest.Wait()
		if pr, _ := n.dir.PresenceOf(t.Context(), w.tokens[token].Account); pr.Online {
			t.Error("still online")
		}
	})
}

func TestShutdown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		start := time.Now()
		if err := n.server.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("took %v", d)
		}
		for _, p := range []*phone{a, b} {
			if m := expect[*protocol.GoingAway](p); m.AfterMS <= 0 {
				t.Errorf("going away %+v", m)
			}
			if code := p.closedWith(); code != protocol.CloseGoingAway || !code.Reconnect() {
				t.Errorf("closed with %d", code)
			}
		}
		d := websocket.Dialer{NetDialContext: n.ln.Dial, Subprotocols: []string{protocol.Subprotocol}}
		_, resp, err := d.DialContext(t.Context(), "ws://node"+protocol.SocketPath, nil)
		if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("a connection during shutdown: %v %v", err, resp)
		}
	})
}

func TestAwaySession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		token := w.device(n, alice)
		own := n.connect(token)
		away := n.hello(&protocol.Hello{Token: token, Away: true})
		b := n.connect(w.device(n, bob))
		ok[protocol.CallInvited](b, invite("c1", alice))
		expect[*protocol.CallIncoming](own)
		nothing[*protocol.CallIncoming](away)
		away.cut()
		own.send(protocol.Frame{}, &protocol.Ping{})
		expect[*protocol.Pong](own)
	})
}

func TestForget(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n1, n2 := w.node("n1"), w.node("n2")
		for i, n := range []*node{n1, n2} {
			token := w.device(n1, []string{alice, bob}[i])
			p := n.connect(token)
			id := w.tokens[token]
			n1.server.Forget(t.Context(), id.Account, id.Device)
			if code := p.closedWith(); code != protocol.CloseToken || code.Reconnect() {
				t.Errorf("closed with %d", code)
			}
		}
	})
}

// That a device is there is written down when it connects, unless it was within
// a day, and when it leaves after a day or more.
func TestSeen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		token := w.device(n, alice)
		seen := func(p *phone) time.Time {
			t.Helper()
			synctest.Wait()
			r, err := n.dir.DeviceOf(t.Context(), directory.Account(p.welcome.Account), directory.Device(p.welcome.Device))
			if err != nil {
				t.Fatal(err)
			}
			return r.Seen
		}
		p := n.connect(token)
		first := seen(p)
		if age := time.Since(first); age < 0 || age > time.Second {
			t.Errorf("a device that has connected was seen %v ago", age)
		}
		time.Sleep(time.Hour)
		p.cut()
		time.Sleep(time.Hour)
		id := w.tokens[token]
		id.Seen = first // as who checks tokens has read it
		w.tokens[token] = id
		p = n.connect(token)
		time.Sleep(30 * time.Hour)
		if got := seen(p); !got.Equal(first) {
			t.Errorf("seen at %v, want what was written first, %v", got, first)
		}
		p.send(protocol.Frame{}, &protocol.Bye{})
		<-p.ended
		if age := time.Since(seen(p)); age > time.Minute {
			t.Errorf("a device that has just left was seen %v ago", age)
		}
	})
}
