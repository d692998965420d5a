package auth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

// Deps are what a [Registrar] works with. All but Registerer are required.
type Deps struct {
	Authenticator *Authenticator
	Records       Records
	Sender        Sender
	// Key makes the HMACs of numbers and codes; at least 32 bytes.
	Key        []byte
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Registrar is the HTTP handler of registration: protocol.PathRegister,
// PathConfirm, PathRefresh and PathRevoke. The client's address is
// Request.RemoteAddr.
type Registrar struct {
	config  Config
	codes   *codes
	auth    *Authenticator
	sender  Sender
	log     *slog.Logger
	asked   *prometheus.CounterVec
	sources sources
	mux     *http.ServeMux
}

// NewRegistrar returns a handler that starts nothing.
func NewRegistrar(c Config, d Deps) (*Registrar, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(d.Key) < 32 {
		return nil, errors.New("auth: the key of codes has fewer than 32 bytes")
	}
	g := &Registrar{
		config: c, codes: &codes{c, d.Key, d.Records}, auth: d.Authenticator, sender: d.Sender, log: d.Log,
		sources: sources{limit: rate.Limit(float64(c.AddressPerHour) / 3600), burst: c.AddressBurst},
		mux:     http.NewServeMux(), asked: newMetrics(d.Registerer),
	}
	if !c.External.Only {
		g.mux.HandleFunc("POST "+protocol.PathRegister, g.handle("register", g.register))
		g.mux.HandleFunc("POST "+protocol.PathConfirm, g.handle("confirm", g.confirm))
	}
	g.mux.HandleFunc("POST "+protocol.PathRefresh, g.handle("refresh", g.refresh))
	g.mux.HandleFunc("POST "+protocol.PathRevoke, g.handle("revoke", g.revoke))
	for _, p := range []string{protocol.PathRegister, protocol.PathConfirm, protocol.PathRefresh, protocol.PathRevoke} {
		g.mux.HandleFunc(p, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", http.MethodPost)
			answer(w, http.StatusMethodNotAllowed, protocol.ErrorReply{Error: protocol.NewError(protocol.CodeUnsupported, "not available, or not with this method")})
		})
	}
	return g, nil
}

func newMetrics(reg prometheus.Registerer) *prometheus.CounterVec {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "switchboard", Subsystem: "auth", Name: "requests_total",
		Help: "Registration requests, by endpoint and by the error's code or ok.",
	}, []string{"endpoint", "result"})
	reg.MustRegister(v)
	return v
}

// ServeHTTP answers a registration request.
func (g *Registrar) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

const (
	// maxBody bounds a request's body, in bytes.
	maxBody = 8 << 10
	// requestTimeout bounds one request, the sending of a code included.
	requestTimeout = 20 * time.Second
)

func (g *Registrar) handle(name string, do func(ctx context.Context, r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		reply, err := any(nil), g.sources.allow(r.RemoteAddr)
		if err == nil {
			reply, err = do(ctx, r)
		}
		if err != nil {
			e := g.asError(name, err)
			g.asked.WithLabelValues(name, string(e.Code)).Inc()
			if e.AfterMS > 0 {
				w.Header().Set("Retry-After", strconv.FormatInt((e.AfterMS+999)/1000, 10))
			}
			answer(w, e.Status(), protocol.ErrorReply{Error: e})
			return
		}
		g.asked.WithLabelValues(name, "ok").Inc()
		if reply == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer(w, http.StatusOK, reply)
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

func (g *Registrar) asError(endpoint string, err error) *protocol.Error {
	var pe *protocol.Error
	var ne *e164.Error
	switch {
	case errors.As(err, &pe):
		return pe
	case errors.As(err, &ne):
		return protocol.NewError(protocol.CodeNumber, "the number cannot be: %s", ne.Reason).With("reason", string(ne.Reason))
	case errors.Is(err, directory.ErrUnavailable), errors.Is(err, callstore.ErrUnavailable), errors.Is(err, callstore.ErrConflict),
		errors.Is(err, directory.ErrConflict), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		g.log.Warn("registration cannot be served", "endpoint", endpoint, "error", err)
		return protocol.NewError(protocol.CodeUnavailable, "that is not to be had at the moment").After(time.Second)
	}
	g.log.Error("registration failed", "endpoint", endpoint, "error", err)
	return protocol.NewError(protocol.CodeInternal, "a fault of the server")
}

// readJSON reads the one JSON object that a request must be.
func readJSON(r *http.Request, v any) error {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return protocol.NewError(protocol.CodeMalformed, "the body must be application/json")
	}
	d := json.NewDecoder(r.Body)
	err := d.Decode(v)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return protocol.NewError(protocol.CodeTooLarge, "the body has more than %d bytes", maxBody)
	case err != nil:
		return protocol.NewError(protocol.CodeMalformed, "the body is not the JSON object that is asked for")
	}
	if _, err := d.Token(); err != io.EOF {
		return protocol.NewError(protocol.CodeMalformed, "something follows the JSON object")
	}
	return nil
}

func (g *Registrar) register(ctx context.Context, r *http.Request) (any, error) {
	var req protocol.RegisterRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	n, err := e164.Parse(req.Number, req.Region)
	if err != nil {
		return nil, err
	}
	id, code, err := g.codes.issue(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := g.sender.Send(ctx, n, code); err != nil {
		g.log.Warn("code not sent", "number", n, "error", err)
		return nil, protocol.NewError(protocol.CodeUnavailable, "the code could not be sent").After(g.config.CodeResend)
	}
	return &protocol.RegisterReply{
		Verification: id, Number: n, Digits: codeDigits, AttemptsLeft: g.config.CodeAttempts,
		ExpiresMS: g.config.CodeLife.Milliseconds(), ResendMS: g.config.CodeResend.Milliseconds(),
	}, nil
}

func (g *Registrar) confirm(ctx context.Context, r *http.Request) (any, error) {
	var req protocol.ConfirmRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if len(req.Verification) > protocol.MaxID || len(req.Code) > 2*codeDigits || len(req.Device) > 64 {
		return nil, protocol.NewError(protocol.CodeInvalid, "a field is too long")
	}
	code := strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, req.Code)
	n, err := g.codes.check(ctx, req.Verification, code)
	if err != nil {
		return nil, err
	}
	return orNil(g.auth.admit(ctx, n, req.Verification, req.Device))
}

func (g *Registrar) refresh(ctx context.Context, r *http.Request) (any, error) {
	token, err := bearer(r)
	if err != nil {
		return nil, err
	}
	return orNil(g.auth.Refresh(ctx, token))
}

func (g *Registrar) revoke(ctx context.Context, r *http.Request) (any, error) {
	token, err := bearer(r)
	if err != nil {
		return nil, err
	}
	return nil, g.auth.Revoke(ctx, token)
}

func orNil(reply protocol.TokenReply, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return &reply, nil
}

func bearer(r *http.Request) (string, error) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", badToken("is missing")
	}
	return token, nil
}

// sources limits requests by source address.
type sources struct {
	limit rate.Limit
	burst int

	mu sync.Mutex
	m  map[netip.Prefix]*rate.Limiter
}

// maxSources bounds what is remembered; then it is forgotten, which lets each
// address begin anew.
const maxSources = 100_000

func (s *sources) allow(remote string) error {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return nil // no address to count, such as a connection in memory
	}
	bits := 32
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is6() {
		bits = 56 // what one customer has
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	l := s.m[p]
	if l == nil {
		if s.m == nil || len(s.m) >= maxSources {
			s.m = map[netip.Prefix]*rate.Limiter{}
		}
		l = rate.NewLimiter(s.limit, s.burst)
		s.m[p] = l
	}
	s.mu.Unlock()
	res := l.Reserve()
	if d := res.Delay(); d > 0 {
		res.Cancel()
		return protocol.NewError(protocol.CodeRate, "too many requests from this address").After(d)
	}
	return nil
}
