package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/signaling/protocol"
)

// RelayControl is the relay of the process. Drain and Resume return at once, and change
// nothing if it is so already. SetDataPath takes one of [DataPaths]; its errors are for the
// operator.
type RelayControl interface {
	State() RelayState
	Drain()
	Resume() error
	DataPath() RelayDataPath
	SetDataPath(ctx context.Context, to string) error
}

// DataPaths are those that operators can choose.
var DataPaths = []string{"auto", "ebpf", "user"}

// ErrRelayEnds says that a relay cannot be put back: its process is about to end.
var ErrRelayEnds = errors.New("the process of the relay is about to end")

// RelayDeps are what [NewRelay] works with. All but API and Registerer are required.
type RelayDeps struct {
	Relay  RelayControl
	Tokens *Tokens
	Log    *slog.Logger
	// API is that of the same process, whose requests are counted together with these;
	// nil where there is none, and then Registerer receives the metrics.
	API        *API
	Registerer prometheus.Registerer
}

// NewRelay makes an API that has the operations on the relay of the process alone, for a
// listener without TLS: it answers whoever is on this machine, and refuses all others
// before their token is looked at. The error names what is missing.
func NewRelay(d RelayDeps) (http.Handler, error) {
	for name, missing := range map[string]bool{"Relay": d.Relay == nil, "Tokens": d.Tokens == nil, "Log": d.Log == nil} {
		if missing {
			return nil, fmt.Errorf("admin: RelayDeps.%s is missing", name)
		}
	}
	var m *metrics
	if d.API != nil {
		m = d.API.metrics
	} else {
		m = newMetrics(d.Registerer)
	}
	api := newAPI(Deps{Relay: d.Relay, Tokens: d.Tokens, Log: d.Log}, m, func(o *operation) bool { return o.ofRelay })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromHere(r) {
			Refuse(w, protocol.NewError(protocol.CodeUnsupported, "this is answered on the relay's own machine alone: a token would travel in the clear"))
			return
		}
		api.ServeHTTP(w, r)
	}), nil
}

// fromHere reports whether a request comes from this machine, without leaving it.
func fromHere(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	// A connection from one of this machine's addresses to itself does not leave it.
	own, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return a.Unmap().IsLoopback() || own != nil && own.AddrPort().Addr().Unmap() == a.Unmap()
}

// relay is that of the process.
func (a *API) relay() (RelayControl, error) {
	if a.deps.Relay == nil {
		return nil, protocol.NewError(protocol.CodeUnsupported, "this process has no relay")
	}
	return a.deps.Relay, nil
}

func (a *API) relayState(context.Context, none) (RelayState, error) {
	r, err := a.relay()
	if err != nil {
		return RelayState{}, err
	}
	return r.State(), nil
}

func (a *API) drainRelay(context.Context, none) (RelayState, error) {
	r, err := a.relay()
	if err != nil {
		return RelayState{}, err
	}
	r.Drain()
	return r.State(), nil
}

func (a *API) resumeRelay(context.Context, none) (RelayState, error) {
	r, err := a.relay()
	if err != nil {
		return RelayState{}, err
	}
	if err := r.Resume(); errors.Is(err, ErrRelayEnds) {
		return RelayState{}, protocol.NewError(protocol.CodeConflict, "the relay's process is about to end; it takes no more calls")
	} else if err != nil {
		return RelayState{}, err
	}
	return r.State(), nil
}

func (a *API) relayDataPath(context.Context, none) (RelayDataPath, error) {
	r, err := a.relay()
	if err != nil {
		return RelayDataPath{}, err
	}
	return r.DataPath(), nil
}

type dataPathRequest struct {
	To string `path:"to" enum:"auto ebpf user" doc:"ebpf: the kernel; user: the process; auto: the kernel where it can"`
}

func (a *API) setRelayDataPath(ctx context.Context, in dataPathRequest) (RelayDataPath, error) {
	r, err := a.relay()
	if err != nil {
		return RelayDataPath{}, err
	}
	switch err := r.SetDataPath(ctx, in.To); {
	case errors.Is(err, context.DeadlineExceeded):
		return RelayDataPath{}, protocol.NewError(protocol.CodeUnavailable, "the relay did not change its data path in time; it may yet")
	case err != nil:
		return RelayDataPath{}, protocol.NewError(protocol.CodeConflict, "%v", err)
	}
	return r.DataPath(), nil
}
