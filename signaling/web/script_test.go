package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"switchboard/signaling"
	"switchboard/signaling/protocol"
	"switchboard/signaling/web"
)

// The tests here play the server by hand, frame by frame, against the SDK in a
// browser: what it must do when connections break can be said exactly.

type fields = map[string]any

// stage is a server whose sockets the test speaks on.
type stage struct {
	t     testing.TB
	page  *page
	url   string
	path  string // of the page
	conns chan *websocket.Conn

	// What is served at every address of the stage.
	handler http.Handler
	pings   atomic.Int32
}

// peer is one connection of the SDK.
type peer struct {
	t      testing.TB
	ws     *websocket.Conn
	frames chan protocol.Frame
	s      uint64
}

const me, other = "+12015550123", "+12125550199"

// newStage opens a page that has the SDK as sb, a client as client, and a list
// of what the client has told as told.
func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageAt(t, "/")
}

// newStageAt is newStage with a page at a path: the demo at / may talk to its
// own origin alone, the empty one at /blank to all.
func newStageAt(t *testing.T, path string) *stage {
	t.Helper()
	st := &stage{t: t, page: newPage(t, "page"), path: path, conns: make(chan *websocket.Conn, 16)}
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	mux.HandleFunc(protocol.SocketPath, func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{Subprotocols: []string{protocol.Subprotocol}, CheckOrigin: func(*http.Request) bool { return true }}
		if ws, err := up.Upgrade(w, r, nil); err == nil {
			st.conns <- ws
		}
	})
	mux.HandleFunc("/blank", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>blank</title>"))
	})
	mux.HandleFunc(protocol.PathPing, func(w http.ResponseWriter, r *http.Request) {
		st.pings.Add(1)
		signaling.Ping(w, r)
	})
	st.handler = mux
	st.url = "http://" + st.address()
	t.Cleanup(func() { st.page.do(navigateAway) })
	st.load()
	st.page.eval(`store.saveDevice({account: 'a', device: 1, number: '` + me + `', token: 'token', expires_ms: 1e9})`)
	return st
}

// address is a further one at which the stage is.
func (st *stage) address() string {
	address, _ := st.node()
	return address
}

// node is an address that can go away: stop has nobody listen there any more.
func (st *stage) node() (address string, stop func()) {
	srv := httptest.NewServer(st.handler)
	st.t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://"), srv.Close
}

// load loads the page, as at first or once more.
func (st *stage) load() {
	st.t.Helper()
	st.page.open(st.url + st.path)
	st.page.eval(`
		window.sb = await import('/switchboard.js')
		window.store = new sb.Store({profile: 'test'})
		window.told = []
		window.client = new sb.Client({store})
		window.hear = () => {
			for (const type of ['call', 'text', 'typing', 'drained', 'trouble', 'presence', 'settings']) {
				client.addEventListener(type, (e) => told.push({type, detail: e.detail}))
			}
		}
		hear()
		window.happened = (type) => told.filter((e) => e.type === type).length`)
}

// accept waits for a connection and answers its hello with a welcome that has
// the given fields beside the usual ones.
func (st *stage) accept(more fields) (*peer, *protocol.Hello) {
	st.t.Helper()
	p := st.connection()
	f := p.want(protocol.TypeHello)
	hello := new(protocol.Hello)
	decode(st.t, f, hello)
	d := fields{
		"session": "s1", "key": "k1", "resumed": "none", "account": "a", "device": 1, "number": me,
		"node": "n1", "heartbeat_ms": 20_000, "limits": fields{"message": 32 << 10, "candidates": 64}, "calls": []any{},
	}
	for k, v := range more {
		d[k] = v
	}
	p.send(protocol.TypeWelcome, d)
	st.page.wait(`client.state === 'online'`)
	return p, hello
}

func (st *stage) connection() *peer {
	st.t.Helper()
	select {
	case ws := <-st.conns:
		if got := ws.Subprotocol(); got != protocol.Subprotocol {
			st.t.Fatalf("subprotocol %q", got)
		}
		p := &peer{t: st.t, ws: ws, frames: make(chan protocol.Frame, 1024)}
		done := make(chan struct{})
		go func() { defer close(done); p.read() }()
		st.t.Cleanup(func() { ws.Close(); <-done })
		return p
	case <-time.After(patience):
		st.t.Fatal("nobody connects")
		return nil
	}
}

// connect connects the client.
func (st *stage) connect(more fields) *peer {
	st.t.Helper()
	st.page.eval(`client.connect()`)
	p, _ := st.accept(more)
	return p
}

func (p *peer) read() {
	defer close(p.frames)
	defer p.ws.Close()
	for {
		_, b, err := p.ws.ReadMessage()
		if err != nil {
			return
		}
		f, err := protocol.DecodeFrame(b)
		if err != nil {
			p.t.Errorf("the SDK sent what is no frame: %v", err)
			return
		}
		if _, err := protocol.Decode(f, protocol.Client); err != nil {
			p.t.Errorf("the SDK sent a bad %s: %v", f.T, err)
		}
		p.frames <- f
	}
}

// next returns the next frame that is not of the types.
func (p *peer) next(but ...protocol.Type) protocol.Frame {
	p.t.Helper()
	for {
		select {
		case f, ok := <-p.frames:
			if !ok {
				p.t.Fatal("the connection is gone")
			}
			if !slices.Contains(but, f.T) {
				return f
			}
		case <-time.After(patience):
			p.t.Fatal("the SDK sends nothing")
		}
	}
}

// want returns the next frame of a type; others that tests do not care about
// may come before it.
func (p *peer) want(t protocol.Type) protocol.Frame {
	p.t.Helper()
	f := p.next(protocol.TypeAck, protocol.TypePing, protocol.TypeMailboxAck, protocol.TypeCallCandidates, protocol.TypeCallRinging, protocol.TypeCallPrepare, protocol.TypeCallReport)
	if f.T != t {
		p.t.Fatalf("got %s, want %s", f.T, t)
	}
	return f
}

// nextIs returns the next frame, which must be of a type.
func (p *peer) nextIs(t protocol.Type) protocol.Frame {
	p.t.Helper()
	f := p.next()
	if f.T != t {
		p.t.Fatalf("got %s, want %s", f.T, t)
	}
	return f
}

// find returns the next frame of a type, whatever comes before it.
func (p *peer) find(t protocol.Type) protocol.Frame {
	p.t.Helper()
	for {
		if f := p.next(); f.T == t {
			return f
		}
	}
}

// findBut is find, and fails if a frame of the other type comes first.
func (p *peer) findBut(t, not protocol.Type) protocol.Frame {
	p.t.Helper()
	for {
		switch f := p.next(); f.T {
		case t:
			return f
		case not:
			p.t.Fatalf("unexpected %s", f.T)
		}
	}
}

// quiet fails if a frame of a type has come up to now: it asks for a sign that
// all was sent, which the SDK gives with the answer to a lookup.
func (p *peer) quiet(st *stage, types ...protocol.Type) {
	p.t.Helper()
	st.page.eval(`client.lookup('+1').catch(() => {})`)
	for {
		f := p.next()
		if f.T == protocol.TypePresenceGet {
			p.ok(f, fields{"number": other, "online": false})
			return
		}
		if slices.Contains(types, f.T) {
			p.t.Fatalf("unexpected %s", f.T)
		}
	}
}

func (p *peer) send(t protocol.Type, d any) { p.write(fields{"t": t, "d": d}) }

// tell sends a reliable frame.
func (p *peer) tell(t protocol.Type, d any) {
	p.s++
	p.write(fields{"t": t, "s": p.s, "d": d})
}

func (p *peer) ok(f protocol.Frame, d any) {
	p.t.Helper()
	if f.ID == "" {
		p.t.Fatalf("%s asks for no answer", f.T)
	}
	p.write(fields{"t": protocol.TypeOK, "re": f.ID, "d": d})
}

func (p *peer) refuse(f protocol.Frame, e *protocol.Error) {
	p.write(fields{"t": protocol.TypeErr, "re": f.ID, "d": e})
}

func (p *peer) write(v any) {
	p.t.Helper()
	if err := p.ws.WriteJSON(v); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *peer) close(code protocol.CloseCode) {
	p.t.Helper()
	b := websocket.FormatCloseMessage(int(code), code.String())
	if err := p.ws.WriteControl(websocket.CloseMessage, b, time.Now().Add(time.Second)); err != nil {
		p.t.Fatalf("close: %v", err)
	}
}

// drop breaks the connection without a word.
func (p *peer) drop() { p.ws.UnderlyingConn().Close() }

func decode(t testing.TB, f protocol.Frame, v any) {
	t.Helper()
	if err := json.Unmarshal(f.D, v); err != nil {
		t.Fatalf("%s: %v", f.T, err)
	}
}

func same(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: want (-), got (+):\n%s", what, diff)
	}
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return strings.ReplaceAll(string(b), "</", "<\\/")
}
