package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/signaling/admin/admintest"
	"switchboard/signaling/protocol"
)

// A process that has a relay alone answers for it, to who has a token and is on the
// machine.
func TestRelayAlone(t *testing.T) {
	tokens, err := OpenTokens(tokenFile(t, "ann "+goodKey))
	if err != nil {
		t.Fatal(err)
	}
	relay, log := &relayFake{}, &lockedBuffer{}
	h, err := NewRelay(RelayDeps{Relay: relay, Tokens: tokens, Log: slog.New(slog.NewJSONHandler(log, nil)), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c := &Client{URL: s.URL, Token: goodKey, HTTP: &http.Client{Transport: admintest.NewChecker(t, Document(), &http.Transport{DisableKeepAlives: true})}}
	for _, on := range []bool{true, true, false, false} {
		got, err := c.DrainRelay(t.Context(), on)
		if err != nil || got.Draining != on || relay.draining != on || got.Allocations != 3 {
			t.Errorf("drain %v: %+v, %v", on, got, err)
		}
	}
	if got, err := c.RelayState(t.Context()); err != nil || got.Name != "relay-1" || got.Known == nil || !*got.Known {
		t.Errorf("state: %+v, %v", got, err)
	}
	if n := strings.Count(log.String(), `"change":"drainRelay"`); n != 2 || !strings.Contains(log.String(), `"by":"ann"`) {
		t.Errorf("the log has %d lines of draining:\n%s", n, log)
	}
	for _, to := range DataPaths[1:] {
		if got, err := c.SetRelayDataPath(t.Context(), to); err != nil || got.Path != to {
			t.Errorf("data path %s: %+v, %v", to, got, err)
		}
		if got, err := c.RelayDataPath(t.Context()); err != nil || got.Path != to || got.Channels != 3 {
			t.Errorf("data path %s: %+v, %v", to, got, err)
		}
	}
	if !strings.Contains(log.String(), `"change":"setRelayDataPath","by":"ann","remote":"127.0.0.1","result":"ok","to":"ebpf"`) {
		t.Errorf("the log does not say who chose a data path:\n%s", log)
	}
	for fail, want := range map[error]protocol.Code{errors.New("not permitted"): protocol.CodeConflict, context.DeadlineExceeded: protocol.CodeUnavailable} {
		relay.fail = fail
		if _, err := c.SetRelayDataPath(t.Context(), "ebpf"); protocol.CodeOf(err) != want || want == protocol.CodeConflict && !strings.Contains(err.Error(), "not permitted") {
			t.Errorf("a data path that fails with %v: %v", fail, err)
		}
	}
	if _, err := c.SetRelayDataPath(t.Context(), "plain"); protocol.CodeOf(err) != protocol.CodeInvalid {
		t.Errorf("a data path that cannot be chosen: %v", err)
	}
	relay.ends = true
	if _, err := c.DrainRelay(t.Context(), false); protocol.CodeOf(err) != protocol.CodeConflict {
		t.Errorf("put back while the process ends: %v", err)
	}
	c.Token = strings.Repeat("x", 32)
	if _, err := c.DrainRelay(t.Context(), true); protocol.CodeOf(err) != protocol.CodeToken || relay.draining {
		t.Errorf("with a wrong token: %v, draining %v", err, relay.draining)
	}
	for path, want := range map[string]int{"/relay": http.StatusOK, "/nodes": http.StatusNotFound, "/route": http.StatusNotFound} {
		if got := askFrom(h, "127.0.0.1:5000", "127.0.0.1:8081", path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	for name, test := range map[string]struct {
		remote, local string
		want          int
	}{
		"loopback of IPv6":         {"[::1]:5000", "[::1]:8081", http.StatusOK},
		"the machine's address":    {"192.0.2.1:5000", "192.0.2.1:8081", http.StatusOK},
		"another of the network":   {"192.0.2.7:5000", "192.0.2.1:8081", http.StatusNotFound},
		"an address that is none":  {"somebody", "192.0.2.1:8081", http.StatusNotFound},
		"the same, mapped to IPv6": {"[::ffff:192.0.2.7]:5000", "192.0.2.1:8081", http.StatusNotFound},
	} {
		if got := askFrom(h, test.remote, test.local, "/relay"); got != test.want {
			t.Errorf("from %s: %d, want %d", name, got, test.want)
		}
	}
}

// askFrom asks as if from an address, of another.
func askFrom(h http.Handler, remote, local, path string) int {
	r := httptest.NewRequest(http.MethodGet, Base+path, nil)
	r.RemoteAddr = remote
	at, err := net.ResolveTCPAddr("tcp", local)
	if err != nil {
		panic(err)
	}
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, at))
	r.Header.Set("Authorization", "Bearer "+goodKey)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// A process without a relay says so.
func TestNoRelay(t *testing.T) {
	o := open(t)
	o.api.deps.Relay = nil
	if _, err := o.client.RelayState(t.Context()); protocol.CodeOf(err) != protocol.CodeUnsupported {
		t.Errorf("state: %v", err)
	}
	if _, err := o.client.DrainRelay(t.Context(), true); protocol.CodeOf(err) != protocol.CodeUnsupported {
		t.Errorf("drain: %v", err)
	}
	if _, err := o.client.RelayDataPath(t.Context()); protocol.CodeOf(err) != protocol.CodeUnsupported {
		t.Errorf("data path: %v", err)
	}
	if _, err := o.client.SetRelayDataPath(t.Context(), "user"); protocol.CodeOf(err) != protocol.CodeUnsupported {
		t.Errorf("another data path: %v", err)
	}
}
