package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling"
	"switchboard/signaling/cdr"
	"switchboard/signaling/mailbox"
	"switchboard/signaling/protocol"
	"switchboard/signaling/push"
)

const (
	// maxAtOnce bounds the requests under way: each may ask all of NATS and
	// other nodes, which devices need, too.
	maxAtOnce = 16
	// requestTimeout bounds a request.
	requestTimeout = 10 * time.Second
)

// caller is the key of a request's context for who asks.
type caller struct{}

// ServeHTTP answers a request whose token is good.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok, err := a.deps.Tokens.Check(bearer(r))
	if err != nil {
		a.log.Warn("operators' tokens not read again; the ones before stay good", "error", err)
	}
	if !ok {
		a.metrics.requests.WithLabelValues("", string(protocol.CodeToken)).Inc()
		a.log.Debug("operator's token refused", "remote", remote(r))
		w.Header().Set("WWW-Authenticate", `Bearer realm="switchboard admin"`)
		Refuse(w, protocol.NewError(protocol.CodeToken, "no token that is in the file of admin.token_file"))
		return
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		a.metrics.requests.WithLabelValues("", string(protocol.CodeUnavailable)).Inc()
		Refuse(w, protocol.NewError(protocol.CodeUnavailable, "more than %d requests at a time", maxAtOnce).After(time.Second))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if path.Clean(r.URL.Path) != r.URL.Path {
		nothingHere(w, r) // the mux would send elsewhere
		return
	}
	a.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), caller{}, name)))
}

// bearer returns the token of a request (RFC 6750 §2.1), or nothing.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// byMethod are the handlers of a path.
type byMethod map[string]http.HandlerFunc

func (m byMethod) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := m[r.Method]; h != nil {
		h(w, r)
		return
	}
	w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(m)), ", "))
	answer(w, http.StatusMethodNotAllowed, protocol.ErrorReply{Error: protocol.NewError(protocol.CodeUnsupported, "this is not asked for with that method")})
}

func nothingHere(w http.ResponseWriter, _ *http.Request) {
	Refuse(w, protocol.NewError(protocol.CodeUnsupported, "there is nothing here; %s%s describes what there is", Base, descriptionPath))
}

// run does what is asked. A change is done to its end, even if who asked leaves.
func (a *API) run(w http.ResponseWriter, r *http.Request, o *operation) {
	ctx := r.Context()
	if o.changes() {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	in, err := read(r, o.in)
	var out any
	if err == nil {
		out, err = o.do(a, ctx, in.Interface())
	}
	result := "ok"
	var pe *protocol.Error
	if err != nil {
		pe = a.asError(o, err)
		result = string(pe.Code)
	}
	a.metrics.requests.WithLabelValues(o.id, result).Inc()
	if o.changes() {
		a.audit(r, o, result)
	}
	if pe != nil {
		Refuse(w, pe)
		return
	}
	answer(w, http.StatusOK, out)
}

// audit writes down who changed what, or tried to.
func (a *API) audit(r *http.Request, o *operation, result string) {
	attrs := []any{"change", o.id, "by", r.Context().Value(caller{}), "remote", remote(r), "result", result}
	for _, f := range fieldsOf(o.in) {
		if f.place == inPath {
			attrs = append(attrs, f.name, printable(r.PathValue(f.name)))
		}
	}
	a.log.Info("operator's change", slog.Group("audit", attrs...))
}

// printable bounds what somebody wrote into a path.
func printable(s string) string { return strings.ToValidUTF8(s[:min(len(s), 96)], "?") }

func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// Refuse answers a request with an error, in the form of this API.
func Refuse(w http.ResponseWriter, e *protocol.Error) {
	if e.AfterMS > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt((e.AfterMS+999)/1000, 10))
	}
	answer(w, e.Status(), protocol.ErrorReply{Error: e})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// asError is what the operator is told; the log has the cause of what is not
// his fault.
func (a *API) asError(o *operation, err error) *protocol.Error {
	var pe *protocol.Error
	var ne *e164.Error
	var re *directory.RecordError
	switch {
	case errors.As(err, &pe):
		return pe
	case errors.As(err, &ne):
		return protocol.NewError(protocol.CodeNumber, "the number cannot be: %s", ne.Reason).With("reason", string(ne.Reason))
	case errors.Is(err, directory.ErrNotFound):
		return protocol.NewError(protocol.CodeNotFound, "not in the directory")
	case errors.Is(err, signaling.ErrNoSession):
		return protocol.NewError(protocol.CodeNotFound, "there is no such session")
	case errors.Is(err, directory.ErrGone):
		return protocol.NewError(protocol.CodeNotFound, "the node is gone")
	case errors.As(err, &re):
		a.log.Error("record cannot be read", "operation", o.id, "error", re)
		return protocol.NewError(protocol.CodeInternal, "a stored record cannot be read: %v", re)
	case errors.Is(err, directory.ErrUnavailable), errors.Is(err, directory.ErrConflict), errors.Is(err, mailbox.ErrUnavailable), errors.Is(err, push.ErrUnavailable), errors.Is(err, cdr.ErrUnavailable),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		a.log.Warn("operator cannot be answered", "operation", o.id, "error", err)
		if o.changes() {
			return protocol.NewError(protocol.CodeUnavailable, "NATS or another node did not answer in time; the change may have happened, or happen yet").After(time.Second)
		}
		return protocol.NewError(protocol.CodeUnavailable, "NATS or another node did not answer in time").After(time.Second)
	}
	a.log.Error("operator's request failed", "operation", o.id, "error", err)
	return protocol.NewError(protocol.CodeInternal, "a fault of the server; its log has the cause")
}
