package auth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 8 << 10

// endpoint does what is asked for at a path. A reply of nil is 204.
type endpoint struct {
	name string // the metric's label
	do   func(ctx context.Context, r *http.Request) (any, error)
}

// Paths lists the paths that a [Registrar] serves. One that ends in a slash stands
// for all below it.
func Paths() []string {
	return []string{
		protocol.PathRegister, protocol.PathConfirm, protocol.PathRefresh, protocol.PathRevoke,
		protocol.PathDevices, protocol.PathDevice,
		protocol.PathNumber, protocol.PathMove, protocol.PathAccount, protocol.PathDelete,
	}
}

// at returns what a path offers, by method; nil if it is no path of ours.
func (g *Registrar) at(path string) map[string]endpoint {
	if rest, ok := strings.CutPrefix(path, protocol.PathDevice); ok && rest != "" && !strings.Contains(rest, "/") {
		return g.endpoints[protocol.PathDevice]
	}
	if strings.HasSuffix(path, "/") {
		return nil
	}
	return g.endpoints[path]
}

// ServeHTTP answers a request.
func (g *Registrar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	offered := g.at(r.URL.Path)
	if offered == nil {
		refuse(w, http.StatusNotFound, protocol.NewError(protocol.CodeUnsupported, "there is nothing here"))
		return
	}
	methods := strings.Join(slices.Sorted(maps.Keys(offered)), ", ")
	if g.crossOrigin(w, r, methods) {
		return
	}
	e, ok := offered[r.Method]
	if !ok {
		w.Header().Set("Allow", methods)
		refuse(w, http.StatusMethodNotAllowed, protocol.NewError(protocol.CodeUnsupported, "this is asked for with %s", methods))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	// What has begun is done to its end, even if the client leaves: a code that
	// was counted is sent, a device that was made is noted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), requestTimeout)
	defer cancel()
	reply, err := e.do(ctx, r)
	switch {
	case err != nil:
		pe := g.asError(e.name, err)
		g.metrics.requests.WithLabelValues(e.name, string(pe.Code)).Inc()
		refuse(w, pe.Status(), pe)
		return
	case reply == nil:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
	default:
		answer(w, http.StatusOK, reply)
	}
	g.metrics.requests.WithLabelValues(e.name, "ok").Inc()
}

func refuse(w http.ResponseWriter, status int, e *protocol.Error) {
	if e.AfterMS > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt((e.AfterMS+999)/1000, 10))
	}
	answer(w, status, protocol.ErrorReply{Error: e})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// asError is what the client is told; the log has the cause.
func (g *Registrar) asError(endpoint string, err error) *protocol.Error {
	var pe *protocol.Error
	var ne *e164.Error
	switch {
	case errors.As(err, &pe):
		return pe
	case errors.As(err, &ne):
		return protocol.NewError(protocol.CodeNumber, "%v", ne).With("reason", string(ne.Reason))
	case errors.Is(err, directory.ErrNumberTaken):
		return protocol.NewError(protocol.CodeConflict, "the number has another account").With("reason", "number_taken")
	case errors.Is(err, directory.ErrUnavailable), errors.Is(err, directory.ErrConflict), errors.Is(err, directory.ErrTooMany), errors.Is(err, callstore.ErrUnavailable),
		errors.Is(err, errNoKeys), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		g.log.Warn("registration cannot be served", "endpoint", endpoint, "error", err)
		return protocol.NewError(protocol.CodeUnavailable, "that is not to be had at the moment").After(time.Second)
	}
	g.log.Error("registration failed", "endpoint", endpoint, "error", err)
	return protocol.NewError(protocol.CodeInternal, "a fault of the server")
}

// readJSON reads the one JSON object that a request must be. That it must say
// so keeps pages of other sites from asking without a preflight.
func readJSON(r *http.Request, v any) error {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return protocol.NewError(protocol.CodeMalformed, "the body must be application/json")
	}
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return protocol.NewError(protocol.CodeTooLarge, "the body has more than %d bytes", maxBody)
	case err != nil:
		return protocol.NewError(protocol.CodeMalformed, "the body ends too soon")
	case json.Unmarshal(body, v) != nil || !isObject(body):
		return protocol.NewError(protocol.CodeMalformed, "the body is not the JSON object that is asked for")
	}
	return nil
}

func isObject(body []byte) bool {
	for _, b := range body {
		if b != ' ' && b != '\t' && b != '\r' && b != '\n' {
			return b == '{'
		}
	}
	return false
}

// crossOrigin lets pages of allowed origins read the answers (Fetch §3.2). It
// reports whether the request was only to ask for that.
func (g *Registrar) crossOrigin(w http.ResponseWriter, r *http.Request, methods string) (done bool) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	allowed := g.originAllowed(origin, r.Host)
	if allowed {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "Retry-After")
	}
	if r.Method != http.MethodOptions {
		return false
	}
	if allowed {
		h.Set("Access-Control-Allow-Methods", methods)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

func (g *Registrar) originAllowed(origin, host string) bool {
	if u, err := url.Parse(origin); err == nil && u.Host == host {
		return true
	}
	return slices.Contains(g.origins, origin) || slices.Contains(g.origins, "*")
}
