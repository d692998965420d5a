package phone_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pion/logging"
	"github.com/pion/transport/v5/vnet"
	"go.uber.org/goleak"

	"switchboard/cmd/internal/phone"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
	"switchboard/signaling"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/client"
	"switchboard/signaling/mailbox/mailboxtest"
	"switchboard/signaling/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const alice, bob = "+14155550101", "+14155550102"

// away is how long a packet takes from one phone to the other.
const away = 20 * time.Millisecond

// server is a signaling server with all it needs in memory, and two phones' networks.
type server struct {
	t      *testing.T
	ln     *listener
	dir    *directorytest.Fake
	tokens tokens
	router *vnet.Router
}

// inBubble runs f in virtual time, with a server and a network that take no real socket.
func inBubble(t *testing.T, f func(t *testing.T, s *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &server{t: t, ln: &listener{conns: make(chan net.Conn), done: make(chan struct{})}, dir: directorytest.NewWorld().Node("one"), tokens: tokens{}}
		quiet := logging.NewDefaultLoggerFactory()
		quiet.DefaultLogLevel = logging.LogLevelDisabled
		var err error
		if s.router, err = vnet.NewRouter(&vnet.RouterConfig{CIDR: "192.0.2.0/24", MinDelay: away, LoggerFactory: quiet}); err != nil {
			t.Fatal(err)
		}
		server, err := signaling.New(signaling.Default(), signaling.Deps{
			Numbers: s.dir, People: s.dir, Watcher: s.dir, Bindings: s.dir, Nodes: s.dir, Mailboxes: mailboxtest.New(), Records: callstoretest.New(),
			Auth: s.tokens, Relays: noRelays{}, Log: slog.New(slog.DiscardHandler), Version: "test",
		})
		if err != nil {
			t.Fatal(err)
		}
		s.dir.Answer(server.Answer)
		h := &http.Server{Handler: server}
		go h.Serve(s.ln)
		go server.Run(t.Context())
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := errors.Join(server.Shutdown(ctx), h.Close(), s.router.Stop()); err != nil {
				t.Errorf("the end: %v", err)
			}
		}()
		f(t, s)
	})
}

// phone is a device of a number's, with a network of its own.
func (s *server) phone(number, address string) (*client.Client, *vnet.Net) {
	s.t.Helper()
	num, err := e164.Parse(number, "")
	if err != nil {
		s.t.Fatal(err)
	}
	acct, err := s.dir.Register(s.t.Context(), num)
	if err != nil {
		s.t.Fatal(err)
	}
	dev, err := s.dir.AddDevice(s.t.Context(), acct.Account, "phone", "")
	if err != nil {
		s.t.Fatal(err)
	}
	token := "token of " + number
	s.tokens[token] = auth.Identity{Account: acct.Account, Device: dev.Device, Number: num}
	c, err := client.Dial(s.t.Context(), client.Options{URL: "http://one.test", Token: token, Stay: true, Dialer: &websocket.Dialer{NetDialContext: s.ln.dial}})
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{address}})
	if err == nil {
		err = s.router.AddNet(n)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return c, n
}

// taken is how a call went for who took it.
type taken struct {
	phone.Summary
	err error
}

// take has a client answer the next call.
func take(ctx context.Context, c *client.Client, o phone.Options) <-chan taken {
	result := make(chan taken, 1)
	go func() {
		for e := range c.Events() {
			if in, ok := e.(client.Incoming); ok {
				in.Call.Ringing()
				s, err := phone.Answer(ctx, in.Call, o)
				result <- taken{s, err}
				return
			}
		}
	}()
	return result
}

// acquaint has a number in a client's contacts.
func acquaint(t *testing.T, c *client.Client, number string) {
	t.Helper()
	if _, err := c.SyncContacts(t.Context(), []string{number}, false); err != nil {
		t.Fatal(err)
	}
}

// TestCall is a whole call between two phones: it takes the time that it lasts, and no
// real one, and nothing is left of it.
func TestCall(t *testing.T) {
	for name, wait := range map[string]time.Duration{"at once": 0, "set up while it rings": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				a, an := s.phone(alice, "192.0.2.1")
				b, bn := s.phone(bob, "192.0.2.2")
				defer a.Close()
				defer b.Close()
				if err := s.router.Start(); err != nil {
					t.Fatal(err)
				}
				acquaint(t, a, bob) // strangers set nothing up before the answer
				acquaint(t, b, alice)
				warn := func(err error) { t.Errorf("warning: %v", err) }
				answered := take(t.Context(), b, phone.Options{Net: bn, Wait: wait, Warn: warn})
				caller, err := phone.Place(t.Context(), a, bob, phone.Options{Net: an, Duration: time.Minute, Warn: warn})
				if err != nil {
					t.Fatal(err)
				}
				callee := <-answered
				if callee.err != nil {
					t.Fatal(callee.err)
				}
				for side, got := range map[string]phone.Summary{"caller": caller, "callee": callee.Summary} {
					check(t, side, got, wait)
				}
			})
		})
	}
}

func check(t *testing.T, side string, s phone.Summary, wait time.Duration) {
	t.Helper()
	if s.Reason != protocol.ReasonHangup || !s.Answered || s.Answer < wait {
		t.Errorf("%s: ended with %q, answered after %v", side, s.Reason, s.Answer)
	}
	if s.Path == nil || s.Path.Local != "host" || len(s.Paths) == 0 || s.Paths[len(s.Paths)-1].Path != *s.Path {
		t.Errorf("%s: the path was %v, of %v", side, s.Path, s.Paths)
	}
	if s.Connected > time.Second || s.Media < away || s.Media > time.Second || s.RoundTrip < 2*away {
		t.Errorf("%s: connected after %v, media after %v, round trip %v", side, s.Connected, s.Media, s.RoundTrip)
	}
	if frames := uint64(time.Minute / (20 * time.Millisecond)); s.Received < frames-100 || s.Sent < frames-100 || s.Lost > 0 {
		t.Errorf("%s: %d packets sent, %d received, %d lost", side, s.Sent, s.Received, s.Lost)
	}
	if s.Pairs < 1 || s.Tried < 1 || s.Tried > s.Pairs {
		t.Errorf("%s: %d pairs, %d tried", side, s.Pairs, s.Tried)
	}
	if len(s.Candidates) == 0 || s.Candidates[0].Type != "host" {
		t.Errorf("%s: candidates %v", side, s.Candidates)
	}
	want := []phone.What{phone.Invited, phone.Answered, phone.ICEConnected, phone.FirstMedia, phone.Ended}
	if wait > 0 {
		want = []phone.What{phone.Invited, phone.Ringing, phone.ICEConnected, phone.Answered, phone.FirstMedia, phone.Ended}
	}
	if !inOrder(happened(s), want) {
		t.Errorf("%s: it went %v, want %v in it", side, happened(s), want)
	}
}

// happened is what happened in a call, without its candidates.
func happened(s phone.Summary) (all []phone.What) {
	for _, m := range s.Moments {
		if m.What != phone.CandidateFound {
			all = append(all, m.What)
		}
	}
	return all
}

// inOrder reports whether all has what want has, in its order.
func inOrder(all, want []phone.What) bool {
	for _, w := range all {
		if len(want) > 0 && w == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

// The caller lets it ring no longer, and the phone that rang has missed the call.
func TestNobodyAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		a, an := s.phone(alice, "192.0.2.1")
		b, bn := s.phone(bob, "192.0.2.2")
		defer a.Close()
		defer b.Close()
		if err := s.router.Start(); err != nil {
			t.Fatal(err)
		}
		missed := take(t.Context(), b, phone.Options{Net: bn, Wait: phone.Forever})
		caller, err := phone.Place(t.Context(), a, bob, phone.Options{Net: an, Ring: 10 * time.Second})
		if err != nil || caller.Answered || !caller.GaveUp || caller.Reason != protocol.ReasonCanceled {
			t.Errorf("the caller: %v, %+v", err, caller)
		}
		if want := []phone.What{phone.Invited, phone.Ringing, phone.Ended}; !inOrder(happened(caller), want) {
			t.Errorf("the caller: it went %v, want %v in it", happened(caller), want)
		}
		if callee := <-missed; callee.err != nil || callee.Answered || callee.Reason != protocol.ReasonCanceled {
			t.Errorf("the callee: %v, %+v", callee.err, callee.Summary)
		}
	})
}

// Both call each other at once: one call comes of it.
func TestBothCallAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		a, an := s.phone(alice, "192.0.2.1")
		b, bn := s.phone(bob, "192.0.2.2")
		defer a.Close()
		defer b.Close()
		if err := s.router.Start(); err != nil {
			t.Fatal(err)
		}
		other := make(chan taken, 1)
		go func() {
			s, err := phone.Place(t.Context(), b, alice, phone.Options{Net: bn, Duration: 2 * time.Second})
			other <- taken{s, err}
		}()
		one, err := phone.Place(t.Context(), a, bob, phone.Options{Net: an, Duration: 2 * time.Second})
		two := <-other
		for _, got := range []taken{{one, err}, two} {
			if got.err != nil || !got.Answered || got.Received == 0 {
				t.Errorf("%v, %+v", got.err, got.Summary)
			}
		}
	})
}

type noRelays struct{}

func (noRelays) Open() protocol.ICE                                   { return protocol.ICE{} }
func (noRelays) For(signaling.RelaysFor) protocol.ICE                 { return protocol.ICE{TTLMS: 1000} }
func (noRelays) Chosen(string, string) []string                       { return nil }
func (noRelays) State(string, time.Time) (state signaling.RelayState) { return state }

// tokens knows whose tokens are whose.
type tokens map[string]auth.Identity

func (a tokens) Authenticate(_ context.Context, token string) (auth.Identity, error) {
	if id, ok := a[token]; ok {
		return id, nil
	}
	return auth.Identity{}, protocol.NewError(protocol.CodeToken, "no such token")
}

// listener takes connections that are made in memory.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *listener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { close(l.done); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }
