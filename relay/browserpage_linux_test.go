package relay_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// browserPatience is how long a browser may take to start, and to do as it is told. The
// page gives up on what it waits for before that, and says what that was.
const browserPatience = 150 * time.Second

// order is what the page is to do, with the servers of each side; it is described there.
type order struct {
	Do    string      `json:"do"`
	Left  []iceServer `json:"left,omitempty"`
	Right []iceServer `json:"right,omitempty"`
}

// iceServer is an RTCIceServer.
type iceServer struct {
	URLs       string `json:"urls"`
	Username   string `json:"username"`
	Credential string `json:"credential"`
}

// report is what came of an order.
type report struct {
	Error  string `json:"error"`
	Echoed int    `json:"echoed"`
	Sides  []struct {
		First, Last side
	} `json:"sides"`
	Candidates []string         `json:"candidates"` // their types
	Errors     []candidateError `json:"errors"`
}

// candidateError says why there is no candidate of a server.
type candidateError struct {
	Code int    `json:"code"` // of STUN, or 701 for a server that is not reached
	Text string `json:"text"`
	URL  string `json:"url"`
}

// side is what one side uses and has received so far.
type side struct {
	Local, Remote candidate
	Audio, Video  int // bytes
	Frames        int
}

type candidate struct {
	Type          string `json:"type"`
	RelayProtocol string `json:"relayProtocol"`
	Address       string `json:"address"`
	Port          int    `json:"port"`
	URL           string `json:"url"`
}

// browser is a browser that has the page of testdata open.
type browser struct {
	orders  chan order
	reports chan report
	ended   chan struct{}

	// Guarded by mu.
	mu  sync.Mutex
	log strings.Builder
}

// open starts a browser that trusts a relay, and ends it with the test.
func (k kind) open(t *testing.T, relay trusted) *browser {
	t.Helper()
	path := k.find(t)
	b := &browser{orders: make(chan order), reports: make(chan report), ended: make(chan struct{})}
	server := httptest.NewServer(b)
	t.Cleanup(func() {
		close(b.ended)
		server.Close()
	})
	profile, err := os.MkdirTemp("", k.name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(t, profile) })
	k.run(t, path, k.setUp(t, profile, server.Listener.Addr().String(), relay), profile)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the page's log:\n%s", b.said())
		}
	})
	b.await(t)
	return b
}

// ServeHTTP serves the page, and what it posts. It is the browser's proxy as well, so
// that what the browser wants of anybody else ends here.
func (b *browser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect || r.URL.Host != "":
		b.note("not let out: " + r.Host)
		w.WriteHeader(http.StatusForbidden)
	case r.URL.Path == "/":
		http.ServeFile(w, r, "testdata/call.html")
	case r.URL.Path == "/log":
		var line string
		_ = json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&line)
		b.note(line)
	case r.URL.Path == "/next":
		var got report
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&got); err != nil {
			got.Error = err.Error()
		}
		if next, ok := b.next(got); ok {
			_ = json.NewEncoder(w).Encode(next)
		}
	default:
		http.NotFound(w, r)
	}
}

// next hands over a report and returns the next order, unless the test ends first.
func (b *browser) next(got report) (order, bool) {
	select {
	case b.reports <- got:
	case <-b.ended:
		return order{}, false
	}
	select {
	case next := <-b.orders:
		return next, true
	case <-b.ended:
		return order{}, false
	}
}

func (b *browser) note(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintf(&b.log, "%s %s\n", time.Now().Format("05.000"), line)
}

func (b *browser) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// do has the page do something, and returns its report when it is done.
func (b *browser) do(t *testing.T, o order) report {
	t.Helper()
	select {
	case b.orders <- o:
	case <-time.After(browserPatience):
		t.Fatalf("the page does not take the order to %s", o.Do)
	}
	got := b.await(t)
	if got.Error != "" {
		t.Fatalf("%s: %s", o.Do, got.Error)
	}
	return got
}

func (b *browser) await(t *testing.T) report {
	t.Helper()
	select {
	case got := <-b.reports:
		return got
	case <-time.After(browserPatience):
		t.Fatal("the page says nothing")
		return report{}
	}
}
