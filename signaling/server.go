package signaling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/auth"
	"switchboard/signaling/mailbox"
	"switchboard/signaling/protocol"
	"switchboard/signaling/region"
)

// Numbers leads from a number to an account and its devices.
type Numbers interface {
	Resolve(ctx context.Context, n e164.Number) (directory.Account, error)
	Devices(ctx context.Context, a directory.Account) ([]directory.DeviceRecord, error)
}

// Bindings says which devices are connected, and where.
type Bindings interface {
	Bind(ctx context.Context, a directory.Account, d directory.Device, conn string) (fence uint64, prev *directory.Binding, err error)
	Unbind(ctx context.Context, a directory.Account, d directory.Device, fence uint64) (bool, error)
	// Rebind binds anew what the node has kept without a lease.
	// [directory.ErrReplaced] says that the device has a newer connection.
	Rebind(ctx context.Context, a directory.Account, d directory.Device, conn string, since time.Time) (fence uint64, prev *directory.Binding, err error)
	Bindings(ctx context.Context, a directory.Account) ([]directory.Binding, error)
	// BindingsConfirmed costs more and is never stale.
	BindingsConfirmed(ctx context.Context, a directory.Account) ([]directory.Binding, error)
	DeviceSeen(ctx context.Context, a directory.Account, d directory.Device, at time.Time) error
	SetPush(ctx context.Context, a directory.Account, d directory.Device, target json.RawMessage) error
	DeviceKeys(ctx context.Context, a directory.Account, d directory.Device, keys string) error
	DeviceMissed(ctx context.Context, a directory.Account, d directory.Device, at time.Time) error
	DeviceToldMissed(ctx context.Context, a directory.Account, d directory.Device, at time.Time) error
}

// Nodes carries requests to other nodes.
type Nodes interface {
	Incarnation() string
	// NodeList lists all that live, this one included.
	NodeList() []directory.NodeInfo
	Ask(ctx context.Context, node string, r directory.Request) ([]byte, error)
}

// Mailboxes keeps what devices have not yet fetched.
type Mailboxes interface {
	Put(ctx context.Context, entries ...mailbox.Entry) ([]uint64, error)
	Read(ctx context.Context, b mailbox.Box, after uint64, limit int) ([]mailbox.Item, bool, error)
	Tail(ctx context.Context, b mailbox.Box) (uint64, error)
	Ack(ctx context.Context, b mailbox.Box, upto uint64) error
}

// Records keeps the records of calls, by compare-and-set.
type Records interface {
	Create(ctx context.Context, key string, data []byte, ttl time.Duration) (rev uint64, err error)
	Load(ctx context.Context, key string) (data []byte, rev uint64, err error)
	Save(ctx context.Context, key string, data []byte, rev uint64, ttl time.Duration) (uint64, error)
	Delete(ctx context.Context, key string, rev uint64) error
	// Keys lists the keys that begin with prefix, which ends with a dot.
	Keys(ctx context.Context, prefix string) ([]string, error)
}

// Authenticator tells whose a token is. An error that holds a
// [*protocol.Error] is passed on to the client.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (auth.Identity, error)
}

// Relays gives the ICE servers for a call.
type Relays interface {
	// Open lists the servers that need no credential.
	Open() protocol.ICE
	// For mints credentials for one side of one call.
	For(RelaysFor) protocol.ICE
	// Chosen names the relays that For gives both sides of a call whose caller is best
	// served in a region, the better one first.
	Chosen(call, region string) []string
	// State tells how the relay at a server does, of which a client has told the
	// host:port of its URL, and which it has used since a time: one that was started
	// anew there later is not the same.
	State(server string, since time.Time) RelayState
}

// RelaysFor says for whom relays are wanted.
type RelaysFor struct {
	Call    string
	Account directory.Account
	// Began is when the call did; now for one that is about to.
	Began time.Time
	// Region is where the caller is best served, "" if not known. Both sides get
	// relays by it, so that one carries both.
	Region string
}

// RelayState is how a relay does.
type RelayState int

const (
	RelayServes RelayState = iota // as far as is known
	RelayDrains                   // it serves, and calls should leave it
	RelayLost                     // it has died
)

// Regions says where devices are best served. See the package region.
type Regions interface {
	Choose(from netip.Addr, n e164.Number, roundTrips map[string]int) region.Choice
	// Better returns a node of another region, or nil.
	Better(region string) *protocol.Better
	// Leave returns where to send the devices of each region, when the node
	// stops. The function is for one goroutine.
	Leave() func(region string) *protocol.Better
	Probes() []protocol.Region
	// Names lists all regions that there are.
	Names() []string
}

// Deps are what a [Server] works with. All but Pushes, Regions, Recorder and
// Registerer are required.
type Deps struct {
	Numbers   Numbers
	Bindings  Bindings
	Nodes     Nodes
	Mailboxes Mailboxes
	Records   Records
	Auth      Authenticator
	Relays    Relays
	People    People
	Watcher   Watcher
	Log       *slog.Logger
	// Pushes may be nil: devices that are away are not woken then.
	Pushes Pushes
	// Regions may be nil: devices are sent nowhere then.
	Regions Regions
	// Recorder may be nil: calls are not written down for operators then.
	Recorder CallRecorder
	// Registerer receives the metrics; nil keeps them to oneself.
	Registerer prometheus.Registerer
	// Version is told to clients.
	Version string
}

// Server serves the sessions of one node. Its methods are safe for concurrent
// use.
type Server struct {
	// Static after New.
	cfg        Config
	Deps       // never changed
	log        *slog.Logger
	metrics    *metrics
	upgrader   websocket.Upgrader
	calls      *calls
	search     chan struct{} // holds one if all calls are to be looked through
	telling    telling
	watching   *watching
	met        *acquaintances
	askers     *limiters[directory.Account] // of presences
	pairs      *limiters[pair]              // of texts
	texts      *texts
	ctx        context.Context // ends with Shutdown
	cancel     context.CancelFunc
	goroutines tasks
	hands      *hands
	greeting   chan struct{} // holds one for each hello that is worked on
	draining   atomic.Bool   // stops
	drain      drainState

	// Guarded by mu.
	mu       sync.Mutex
	sessions map[endpoint]*session
	byID     map[string]*session
	visitors int                // sessions that are in byID alone
	opening  map[*conn]struct{} // before hello has been answered
}

// New makes a server. It starts nothing; the error names what is missing or
// wrong.
func New(cfg Config, d Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	for name, missing := range map[string]bool{
		"Numbers": d.Numbers == nil, "Bindings": d.Bindings == nil, "Nodes": d.Nodes == nil,
		"Mailboxes": d.Mailboxes == nil, "Records": d.Records == nil, "Auth": d.Auth == nil,
		"Relays": d.Relays == nil, "People": d.People == nil, "Watcher": d.Watcher == nil, "Log": d.Log == nil,
	} {
		if missing {
			return nil, fmt.Errorf("signaling: Deps.%s is missing", name)
		}
	}
	s := &Server{
		cfg: cfg, Deps: d, log: d.Log, metrics: newMetrics(d.Registerer),
		sessions: map[endpoint]*session{}, byID: map[string]*session{}, opening: map[*conn]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.calls = newCalls(s)
	s.search = make(chan struct{}, 1)
	s.telling.srv = s
	s.watching = newWatching(s)
	s.met = newAcquaintances(s)
	s.askers = newLimiters[directory.Account](cfg.Limits.LookupsPerMinute/60, cfg.Limits.LookupsBurst+2*cfg.Limits.Subscriptions, "lookups")
	s.texts = newTexts()
	s.pairs = newLimiters[pair](cfg.Limits.PairMessagesPerSecond, cfg.Limits.PairMessagesBurst, "messages to this number")
	s.hands = newHands(s.goroutines.Go)
	s.greeting = make(chan struct{}, maxGreeting)
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: cfg.HelloTimeout,
		// Small, because an idle connection keeps its read buffer. Large frames
		// are read past it.
		ReadBufferSize:  256,
		WriteBufferPool: &sync.Pool{},
		WriteBufferSize: 4 << 10,
		Subprotocols:    []string{protocol.Subprotocol},
		CheckOrigin:     s.originAllowed,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
			writeError(w, status, protocol.NewError(protocol.CodeMalformed, "not a WebSocket handshake that this node accepts"))
		},
	}
	return s, nil
}

func validOrigin(o string) bool {
	u, err := url.Parse(o)
	return err == nil && u.Scheme != "" && u.Host != "" && u.Path == "" && u.RawQuery == ""
}

// originAllowed keeps pages of other sites from using a visitor's network to
// get at a node.
func (s *Server) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	if u, err := url.Parse(origin); err == nil && u.Host == r.Host {
		return true
	}
	return slices.Contains(s.cfg.AllowedOrigins, origin) || slices.Contains(s.cfg.AllowedOrigins, "*")
}

// ServeHTTP accepts a WebSocket connection at [protocol.SocketPath]. It
// returns once the connection is accepted; the connection goes on until the
// peer leaves, breaks the protocol or [Server.Shutdown] is called.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.leaving() {
		writeError(w, http.StatusServiceUnavailable, protocol.NewError(protocol.CodeUnavailable, "the node takes no sessions; connect to another").After(time.Second))
		return
	}
	if s.Sessions() >= s.cfg.MaxSessions {
		s.metrics.refused.WithLabelValues("full").Inc()
		writeError(w, http.StatusServiceUnavailable, protocol.NewError(protocol.CodeUnavailable, "the node is full").After(5*time.Second))
		return
	}
	if websocket.IsWebSocketUpgrade(r) && !slices.Contains(websocket.Subprotocols(r), protocol.Subprotocol) {
		s.metrics.refused.WithLabelValues("subprotocol").Inc()
		writeError(w, http.StatusBadRequest, protocol.NewError(protocol.CodeUnsupported, "the subprotocol must be %s", protocol.Subprotocol))
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.metrics.refused.WithLabelValues("handshake").Inc()
		return // the upgrader has answered
	}
	ws.SetReadLimit(protocol.MaxFrame)
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	c := &conn{srv: s, ws: ws, remote: host}
	// The handler returns, so that the buffers of net/http are let go of.
	if !s.goroutines.Go(func() { s.serve(c) }) {
		ws.Close()
	}
}

func writeError(w http.ResponseWriter, status int, e *protocol.Error) {
	w.Header().Set("Content-Type", "application/json")
	if e.AfterMS > 0 {
		w.Header().Set("Retry-After", fmt.Sprint((e.AfterMS+999)/1000))
	}
	w.WriteHeader(status)
	_, _ = w.Write(encodeHTTPError(e))
}

// Sessions is the number of sessions, connected or waiting for their device.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions) + s.visitors + len(s.opening)
}

// Shutdown tells every client to connect elsewhere, closes the connections
// over [Config.DrainFor] and waits for what runs, at most until ctx ends. Calls
// go on: their media needs no node, and any node carries their state on.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.stop(ctx, protocol.CloseGoingAway, s.cfg.DrainFor)
}

// Abandon closes every connection at once, because the process cannot go on and
// another node may serve its devices.
func (s *Server) Abandon(ctx context.Context) error {
	return s.stop(ctx, protocol.CloseLease, 0)
}

func (s *Server) stop(ctx context.Context, code protocol.CloseCode, over time.Duration) error {
	s.draining.Store(true)
	s.drain.halt() // all sessions end here
	s.calls.stopTimers()
	sessions := s.goingAway(over)
	rest := s.pace(ctx, sessions, over, code)
	for _, ss := range rest {
		s.goroutines.Go(func() { s.endWith(ss, code) })
	}
	s.closeOpening(code)
	s.hands.rest()
	err := s.goroutines.Wait(ctx)
	s.cancel()
	if err != nil {
		return fmt.Errorf("sessions still closing: %w", err)
	}
	return nil
}

func (s *Server) snapshot() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*session, 0, len(s.byID))
	for _, ss := range s.byID {
		all = append(all, ss)
	}
	return all
}

func (s *Server) closeOpening(code protocol.CloseCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.opening {
		c.close(code)
	}
}

// request bounds what one request may wait for.
func (s *Server) request() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, s.cfg.RequestTimeout)
}

// tasks counts the goroutines of a server and keeps new ones from starting
// once it is being waited for.
type tasks struct {
	mu      sync.Mutex
	n       int
	waiting bool
	idle    chan struct{} // closed when n falls to 0 while waiting
}

// Go runs f and reports true, unless Wait has been called and nothing runs any
// more: what still runs may start what it needs to finish.
func (t *tasks) Go(f func()) bool {
	t.mu.Lock()
	if t.waiting && t.n == 0 {
		t.mu.Unlock()
		return false
	}
	t.n++
	t.mu.Unlock()
	go func() {
		defer t.done()
		f()
	}()
	return true
}

func (t *tasks) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.n == 0 && t.waiting {
		close(t.idle)
	}
}

// Wait returns when nothing runs, or with ctx's cause. Several may wait.
func (t *tasks) Wait(ctx context.Context) error {
	t.mu.Lock()
	if !t.waiting {
		t.waiting, t.idle = true, make(chan struct{})
		if t.n == 0 {
			close(t.idle)
		}
	}
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errShutdown = errors.New("server is shut down")
