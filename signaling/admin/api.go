package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling"
)

// Numbers leads from a number to an account and its devices. Errors are the
// directory's.
type Numbers interface {
	Resolve(ctx context.Context, n e164.Number) (directory.Account, error)
	AccountOf(ctx context.Context, a directory.Account) (directory.AccountRecord, error)
	Devices(ctx context.Context, a directory.Account) ([]directory.DeviceRecord, error)
	DeviceOf(ctx context.Context, a directory.Account, dev directory.Device) (directory.DeviceRecord, error)
}

// People says whom an account knows.
type People interface {
	KnownAndBlocked(ctx context.Context, owner directory.Account) (contacts, blocks int, err error)
}

// Presence says who is connected, and where.
type Presence interface {
	BindingsConfirmed(ctx context.Context, a directory.Account) ([]directory.Binding, error)
	PresenceOf(ctx context.Context, a directory.Account) (directory.Presence, error)
}

// Fleet says which nodes are alive, the one that answers included.
type Fleet interface {
	// Incarnation names the one that answers.
	Incarnation() string
	Nodes() []Node
}

// SessionControl reaches the sessions of every node; a [signaling.Server] is one.
type SessionControl interface {
	ListSessions(ctx context.Context, node string, q signaling.SessionQuery) (signaling.SessionPage, error)
	EndSession(ctx context.Context, a directory.Account, d directory.Device) error
	EndSessionAt(ctx context.Context, node, session string) error
	DrainNode(ctx context.Context, node string, on bool) error
}

// Deps are what an [API] works with. All but Relay, Pushes, Calls and Registerer are
// required.
type Deps struct {
	Numbers  Numbers
	People   People
	Presence Presence
	Fleet    Fleet
	Sessions SessionControl
	// Waiting counts what is in a device's mailbox.
	Waiting func(ctx context.Context, a directory.Account, d directory.Device) (int, error)
	// Remove removes a device and all that it has.
	Remove func(ctx context.Context, a directory.Account, d directory.Device) error
	// Relays lists those that devices are told of.
	Relays  func() []Relay
	Routing Routing
	// Relay is that of this process; nil where it has none.
	Relay      RelayControl
	Pushes     Pushes // may be nil: where no device is woken
	Calls      Calls  // may be nil: where no calls are written down
	Tokens     *Tokens
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// API answers operators.
type API struct {
	deps    Deps
	log     *slog.Logger
	mux     *http.ServeMux
	routes  map[string]byMethod // by path
	metrics *metrics
	slots   chan struct{} // one for each request under way
}

// New makes an API. The error names what is missing.
func New(d Deps) (*API, error) {
	for name, missing := range map[string]bool{
		"Numbers": d.Numbers == nil, "People": d.People == nil, "Presence": d.Presence == nil, "Fleet": d.Fleet == nil, "Sessions": d.Sessions == nil,
		"Waiting": d.Waiting == nil, "Remove": d.Remove == nil, "Relays": d.Relays == nil, "Tokens": d.Tokens == nil, "Log": d.Log == nil,
		"Routing": !d.Routing.complete(),
	} {
		if missing {
			return nil, fmt.Errorf("admin: Deps.%s is missing", name)
		}
	}
	return newAPI(d, newMetrics(d.Registerer), func(*operation) bool { return true }), nil
}

// newAPI makes an API with those of the operations that it is to have.
func newAPI(d Deps, m *metrics, has func(*operation) bool) *API {
	a := &API{deps: d, log: d.Log, mux: http.NewServeMux(), metrics: m, slots: make(chan struct{}, maxAtOnce)}
	a.routes = map[string]byMethod{descriptionPath: {http.MethodGet: a.describe}}
	for i := range operations {
		o := &operations[i]
		if !has(o) {
			continue
		}
		if a.routes[o.path] == nil {
			a.routes[o.path] = byMethod{}
		}
		a.routes[o.path][o.method] = func(w http.ResponseWriter, r *http.Request) { a.run(w, r, o) }
	}
	for path, methods := range a.routes {
		a.mux.Handle(Base+path, methods)
	}
	a.mux.HandleFunc("/", nothingHere)
	return a
}
