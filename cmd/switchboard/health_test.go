package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHealth(t *testing.T) {
	var h health
	nats := errors.New("nats at 10.0.0.7: connection refused")
	h.require("nats", func() error { return nats })
	h.require("directory", func() error { return nil })
	public, ops := http.NewServeMux(), http.NewServeMux()
	h.mount(public, false)
	h.mount(ops, true)

	for _, test := range []struct {
		name string
		mux  *http.ServeMux
		want readiness
	}{
		{"operators learn why", ops, readiness{false, map[string]string{"nats": nats.Error(), "directory": "ok"}}},
		{"others learn that", public, readiness{false, map[string]string{"nats": "not ready", "directory": "ok"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, got := getReadiness(t, test.mux)
			if status != http.StatusServiceUnavailable {
				t.Errorf("status %d", status)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("alive all the same", func(t *testing.T) {
		w := httptest.NewRecorder()
		public.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
		if w.Code != http.StatusOK {
			t.Errorf("status %d", w.Code)
		}
	})
	t.Run("ready once all are", func(t *testing.T) {
		nats = nil
		if status, got := getReadiness(t, public); status != http.StatusOK || !got.Ready {
			t.Errorf("status %d, %v", status, got)
		}
	})
}

func getReadiness(t *testing.T, mux *http.ServeMux) (status int, r readiness) {
	t.Helper()
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if err := json.NewDecoder(w.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return w.Code, r
}
