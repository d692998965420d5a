package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
)

// health answers whether the process is alive and whether it should be given
// work. Alive means only that it can answer: a process that waits for NATS is
// not helped by being killed.
type health struct {
	// Guarded by mu.
	mu    sync.Mutex
	needs []need
}

// need is something that must be ready before devices may come.
type need struct {
	name  string
	ready func() error
}

var (
	errStarting = errors.New("starting")
	errDraining = errors.New("draining")
	errDrained  = errors.New("taken out of service by an operator; see: switchboard admin undrain")
)

// require adds a need.
func (h *health) require(name string, ready func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.needs = append(h.needs, need{name, ready})
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready bool              `json:"ready"`
	Parts map[string]string `json:"parts"`
}

// check asks for every need. Without detail, the reasons stay with the operators:
// they may name machines.
func (h *health) check(detail bool) readiness {
	h.mu.Lock()
	needs := slices.Clone(h.needs)
	h.mu.Unlock()
	r := readiness{Ready: true, Parts: make(map[string]string)}
	for _, p := range needs {
		word := "ok"
		if err := p.ready(); err != nil {
			r.Ready, word = false, "not ready"
			if detail {
				word = err.Error()
			}
		}
		r.Parts[p.name] = word
	}
	return r
}

// mount adds /healthz and /readyz to mux.
func (h *health) mount(mux *http.ServeMux, detail bool) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := h.check(detail)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !r.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(r)
	})
}
