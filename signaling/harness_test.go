package signaling

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/cdr/cdrtest"
	"switchboard/signaling/internal/memnet"
	"switchboard/signaling/mailbox/mailboxtest"
	"switchboard/signaling/protocol"
	"switchboard/signaling/protocol/protocoltest"
	"switchboard/signaling/region"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is what nodes share, all of it in memory and in virtual time.
type world struct {
	t       *testing.T
	dir     *directorytest.World
	boxes   *mailboxtest.Fake
	records *callstoretest.Fake
	tokens  tokens
	logs    *lockedBuffer
	config  Config
	regions *region.Guide // given to nodes that are started; nil for none
	pushes  *pushes       // the same
	relays  Relays        // the same; nil for testRelays
	written *cdrtest.Fake
	// recorder is given to nodes that are started; nil for written.
	recorder CallRecorder
}

// node is one server of the world.
type node struct {
	w      *world
	dir    *directorytest.Fake
	server *Server
	ln     *memnet.Listener
	http   *http.Server

	*directorytest.Fake
	relations atomic.Int64 // how often it was asked what somebody thinks of another
	unheard   atomic.Int64 // how many requests to other nodes are still to be lost
}

// Ask loses requests.
func (n *node) Ask(ctx context.Context, to string, r directory.Request) ([]byte, error) {
	if n.unheard.Add(-1) >= 0 {
		return nil, directory.ErrUnavailable
	}
	return n.Fake.Ask(ctx, to, r)
}

// Relation counts.
func (n *node) Relation(ctx context.Context, owner, peer directory.Account, number e164.Number) (directory.Relation, error) {
	n.relations.Add(1)
	return n.Fake.Relation(ctx, owner, peer, number)
}

// anyNode is a view of the directory.
func (w *world) anyNode() *directorytest.Fake { return w.dir.Node("test") }

// inWorld runs f in a bubble and checks afterwards that no number, token, SDP
// or text has reached the log, or a record for operators.
func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t: t, dir: directorytest.NewWorld(), boxes: mailboxtest.New(), records: callstoretest.New(),
			tokens: tokens{}, logs: &lockedBuffer{}, config: Default(), written: cdrtest.New(),
		}
		f(t, w)
		for _, secret := range []string{"+1415555", "v=0", "ufrag", "token-", "secret text"} {
			if strings.Contains(w.logs.String(), secret) {
				t.Errorf("the log holds %q", secret)
			}
			if records, err := json.Marshal(w.written.Records()); err != nil || bytes.Contains(records, []byte(secret)) {
				t.Errorf("a record for operators holds %q: %s, %v", secret, records, err)
			}
		}
	})
}

// node starts a node; it is shut down with the test.
func (w *world) node(name string) *node {
	w.t.Helper()
	n := &node{w: w, dir: w.dir.Node(name), ln: memnet.Listen()}
	n.Fake = n.dir
	var err error
	d := Deps{
		Numbers: n.dir, People: n, Watcher: n.dir, Bindings: n.dir, Nodes: n, Mailboxes: w.boxes, Records: w.records,
		Auth: w.tokens, Relays: cmp.Or[Relays](w.relays, testRelays{}), Regions: regionsOf(w.regions), Version: "test",
		Recorder: cmp.Or[CallRecorder](w.recorder, w.written),
		Log:      slog.New(slog.NewJSONHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if w.pushes != nil {
		d.Pushes = w.pushes
	}
	n.server, err = New(w.config, d)
	if err != nil {
		w.t.Fatal(err)
	}
	n.dir.Answer(n.server.Answer)
	n.dir.OnLease(n.server.Regained)
	n.http = &http.Server{Handler: n.server}
	go n.http.Serve(n.ln)
	w.t.Cleanup(n.stop)
	go n.server.Run(w.t.Context())
	return n
}

// crash ends a node as a power cut does: it tells nobody, and does nothing more.
func (n *node) crash() {
	n.dir.Die()
	n.server.calls.stopTimers()
	n.server.cancel()
	n.ln.Close()
}

func (n *node) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.server.Shutdown(ctx); err != nil {
		n.w.t.Errorf("shutdown: %v", err)
	}
	n.http.Close()
}

// device registers a device for a number and returns its token.
func (w *world) device(n *node, number string) string {
	w.t.Helper()
	num, err := e164.Parse(number, "")
	if err != nil {
		w.t.Fatal(err)
	}
	acct, err := n.dir.Register(w.t.Context(), num)
	if err != nil {
		w.t.Fatal(err)
	}
	dev, err := n.dir.AddDevice(w.t.Context(), acct.Account, "phone", "")
	if err != nil {
		w.t.Fatal(err)
	}
	token := fmt.Sprintf("token-%s-%d", acct.Account, dev.Device)
	w.tokens[token] = auth.Identity{Account: acct.Account, Device: dev.Device, Number: num}
	return token
}

// tokens knows whose tokens are whose.
type tokens map[string]auth.Identity

func (a tokens) Authenticate(_ context.Context, token string) (auth.Identity, error) {
	if id, ok := a[token]; ok {
		return id, nil
	}
	return auth.Identity{}, protocol.NewError(protocol.CodeToken, "no such token")
}

type testRelays struct{}

func (testRelays) Open() protocol.ICE {
	return protocol.ICE{Servers: []protocol.ICEServer{{URLs: []string{"stun:127.0.0.1:3478"}}}}
}

func (testRelays) For(f RelaysFor) protocol.ICE {
	return protocol.ICE{Servers: []protocol.ICEServer{{URLs: []string{"turn:127.0.0.1:3478"}, Username: f.Call, Credential: string(f.Account)}}, TTLMS: 1000}
}

func (testRelays) Chosen(string, string) []string { return []string{"relay-1", "relay-2"} }

func (testRelays) State(string, time.Time) RelayState { return RelayServes }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// phone is a client that speaks frames, for tests that look at each.
type phone struct {
	t       *testing.T
	ws      *websocket.Conn
	mu      sync.Mutex // held to write
	welcome protocol.Welcome
	frames  chan protocol.Frame
	ended   chan struct{}
	err     error // why reading ended; after ended is closed
	nextID  int
	lastS   uint64
	held    []protocol.Frame // came while something else was expected

	exchange protocoltest.Exchange // every frame is held against the description
	hostile  atomic.Bool           // but those of one who says what is not described
}

// dial connects without saying hello.
func (n *node) dial() *phone {
	n.w.t.Helper()
	d := websocket.Dialer{NetDialContext: n.ln.Dial, Subprotocols: []string{protocol.Subprotocol}}
	ws, resp, err := d.DialContext(n.w.t.Context(), "ws://node"+protocol.SocketPath, nil)
	if err != nil {
		n.w.t.Fatalf("dial: %v (%v)", err, resp)
	}
	p := &phone{
		t: n.w.t, ws: ws, frames: make(chan protocol.Frame, 4096), ended: make(chan struct{}),
		exchange: protocoltest.Exchange{Schemas: protocoltest.Open(n.w.t)},
	}
	go p.read()
	n.w.t.Cleanup(p.cut)
	return p
}

func (p *phone) read() {
	defer close(p.ended)
	for {
		_, b, err := p.ws.ReadMessage()
		if err != nil {
			p.err = err
			return
		}
		if err := p.exchange.Server(b); err != nil && !p.hostile.Load() {
			p.t.Error(err)
		}
		f, err := protocol.DecodeFrame(b)
		if err != nil {
			p.err = err
			return
		}
		p.frames <- f
	}
}

// connect opens a session and keeps it alive.
func (n *node) connect(token string) *phone {
	n.w.t.Helper()
	p := n.hello(&protocol.Hello{Token: token})
	go func() {
		beat := time.NewTicker(time.Duration(p.welcome.HeartbeatMS) * time.Millisecond)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				_ = p.write([]byte(`{"t":"ping"}`))
			case <-p.ended:
				return
			}
		}
	}()
	return p
}

func (n *node) hello(h *protocol.Hello) *phone {
	n.w.t.Helper()
	p := n.dial()
	p.send(protocol.Frame{}, h)
	p.welcome = *expect[*protocol.Welcome](p)
	return p
}

// cut closes the socket without a word.
func (p *phone) cut() {
	p.ws.Close()
	<-p.ended
}

func (p *phone) send(f protocol.Frame, b protocol.Body) {
	p.t.Helper()
	raw, err := protocol.Encode(f, b)
	if err != nil {
		p.t.Fatal(err)
	}
	p.sendRaw(raw)
}

func (p *phone) sendRaw(raw []byte) {
	p.t.Helper()
	if err := p.write(raw); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *phone) write(raw []byte) error {
	if err := p.exchange.Client(raw); err != nil && !p.hostile.Load() {
		p.t.Error(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ws.WriteMessage(websocket.TextMessage, raw)
}

// ask sends a request and returns its answer.
func (p *phone) ask(b protocol.Body) protocol.Frame {
	p.t.Helper()
	p.nextID++
	id := fmt.Sprint("q", p.nextID)
	p.send(protocol.Frame{ID: id}, b)
	return p.next(func(f protocol.Frame) bool { return f.Re == id })
}

// ok sends a request that must be answered ok with an R.
func ok[R any](p *phone, b protocol.Body) R {
	p.t.Helper()
	f := p.ask(b)
	if f.T != protocol.TypeOK {
		p.t.Fatalf("%s was refused: %s", b.Type(), f.D)
	}
	var r R
	if err := protocol.DecodeReply(f, &r); err != nil {
		p.t.Fatalf("reply to %s: %v", b.Type(), err)
	}
	return r
}

// refused sends a request that must be refused.
func (p *phone) refused(b protocol.Body) *protocol.Error {
	p.t.Helper()
	f := p.ask(b)
	if f.T != protocol.TypeErr {
		p.t.Fatalf("%s was answered %s %s, want an error", b.Type(), f.T, f.D)
	}
	var e protocol.Error
	if err := json.Unmarshal(f.D, &e); err != nil {
		p.t.Fatal(err)
	}
	return &e
}

// expect returns the next message of type B, keeping others for later.
func expect[B protocol.Body](p *phone) B {
	p.t.Helper()
	var zero B
	f := p.next(func(f protocol.Frame) bool { return f.T == zero.Type() && f.Re == "" })
	b, err := protocol.Decode(f, protocol.Server)
	if err != nil {
		p.t.Fatalf("%s: %v", f.T, err)
	}
	return b.(B)
}

// next returns the first frame that is wanted; five minutes without it fail.
func (p *phone) next(want func(protocol.Frame) bool) protocol.Frame {
	p.t.Helper()
	for i, f := range p.held {
		if want(f) {
			p.held = append(p.held[:i:i], p.held[i+1:]...)
			return f
		}
	}
	timeout := time.After(5 * time.Minute)
	for {
		select {
		case f := <-p.frames:
			p.lastS = max(p.lastS, f.S)
			if want(f) {
				return f
			}
			p.held = append(p.held, f)
		case <-p.ended:
			if len(p.frames) > 0 {
				continue
			}
			p.t.Fatalf("connection ended: %v", p.err)
		case <-timeout:
			p.t.Fatalf("nothing came; held back: %v", p.held)
		}
	}
}

// nothing fails if a message of type B has come by the time everything rests.
func nothing[B protocol.Body](p *phone) {
	p.t.Helper()
	synctest.Wait()
	var zero B
	for len(p.frames) > 0 {
		p.held = append(p.held, <-p.frames)
	}
	for _, f := range p.held {
		if f.T == zero.Type() {
			p.t.Fatalf("got %s %s, want none", f.T, f.D)
		}
	}
}

// closedWith waits for the end of the connection and returns its code.
func (p *phone) closedWith() protocol.CloseCode {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(10 * time.Minute):
		p.t.Fatal("connection was not closed")
	}
	var ce *websocket.CloseError
	if !errors.As(p.err, &ce) {
		p.t.Fatalf("connection ended with %v, want a close code", p.err)
	}
	return protocol.CloseCode(ce.Code)
}
