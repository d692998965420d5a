package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/directory/natsnode/loopback"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// TestTwoPhones is what Switchboard is for, through all of it: two numbers are
// registered, text and call each other. Nothing of it may show a number.
func TestTwoPhones(t *testing.T) {
	n := testNode(t, "log: {level: debug}")
	var log safeBuffer
	n.log = newLogger(n.config.Log, &log)
	p := start(t, n)

	a, b := connect(t, p.Addrs, register(t, p.Addrs, alice)), connect(t, p.Addrs, register(t, p.Addrs, bob))
	send(t, a, bob, "are you there?")
	if got := awaitText(t, b); got.Body != "are you there?" || got.From.E164() != alice {
		t.Errorf("text %q from %v", got.Body, got.From)
	}
	callThrough(t, a, b)

	_, metrics := p.get(p.Ops, "/metrics")
	for _, want := range []string{
		"switchboard_signaling_sessions 2\n", `switchboard_auth_requests_total{endpoint="confirm",result="ok"} 2`,
		"switchboard_mailbox_", `switchboard_callstore_operations_total{bucket="calls"`, `switchboard_callstore_operations_total{bucket="codes"`,
		"switchboard_relay_",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	a.Close()
	b.Close()
	if err := p.end(); err != nil {
		t.Errorf("asked to end: %v", err)
	}
	if !strings.Contains(log.String(), "one-time code") {
		t.Error("the log is not looked at")
	}
	for _, number := range []string{alice, bob} {
		if strings.Contains(metrics, number[1:]) {
			t.Error("a number is in the metrics")
		}
		if strings.Contains(log.String(), number[1:]) {
			t.Error("a number is in the log")
		}
	}
}

// callThrough lets a call b, b answer and a hang up.
func callThrough(t *testing.T, a, b *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	id := client.NewID()
	ice, err := a.ICE(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	checkRelays(t, ice)
	out, _, err := a.Invite(ctx, id, b.Number().E164(), []protocol.Media{protocol.Audio}, "v=0 offer")
	if err != nil {
		t.Fatal(err)
	}
	in := await[client.Incoming](t, b).Call
	if in.Offer() != "v=0 offer" || in.Peer() != a.Number() {
		t.Errorf("offer %q from %v", in.Offer(), in.Peer())
	}
	checkRelays(t, in.ICE())
	in.Ringing()
	awaitIn[client.Ringing](t, out)
	if err := in.Answer(ctx, "v=0 answer"); err != nil {
		t.Fatal(err)
	}
	if got := awaitIn[client.Answered](t, out).SDP; got != "v=0 answer" {
		t.Errorf("answer %q", got)
	}
	if err := out.Hangup(ctx, ""); err != nil {
		t.Fatal(err)
	}
	awaitIn[client.Ended](t, out)
	awaitIn[client.Ended](t, in)
}

// checkRelays wants a relay with credentials among the ICE servers.
func checkRelays(t *testing.T, ice protocol.ICE) {
	t.Helper()
	for _, s := range ice.Servers {
		if strings.HasPrefix(s.URLs[0], "turn:127.0.0.1:") && s.Username != "" && s.Credential != "" && ice.TTLMS > 0 {
			return
		}
	}
	t.Errorf("no relay among %v", ice)
}

// TestRestart stops a process in between: who is away then misses nothing, and
// tokens stay good.
func TestRestart(t *testing.T) {
	first := testNode(t, "")
	p := start(t, first)
	tokenA, tokenB := register(t, p.Addrs, alice), register(t, p.Addrs, bob)
	send(t, connect(t, p.Addrs, tokenA), bob, "read this later")
	if err := p.end(); err != nil {
		t.Fatal(err)
	}

	second := testNode(t, "")
	second.config = first.config
	p = start(t, second)
	if got := awaitText(t, connect(t, p.Addrs, tokenB)); got.Body != "read this later" {
		t.Errorf("text %q", got.Body)
	}
}

// TestSessionsAreSentElsewhere looks at a drain from a device.
func TestSessionsAreSentElsewhere(t *testing.T) {
	p := start(t, testNode(t, ""))
	c := connect(t, p.Addrs, register(t, p.Addrs, alice))
	await[client.Connected](t, c)
	ended := make(chan error, 1)
	go func() { ended <- p.end() }()
	if d := await[client.Disconnected](t, c); d.Retry <= 0 {
		t.Errorf("told to come back after %v", d.Retry)
	}
	if err := <-ended; err != nil {
		t.Errorf("asked to end: %v", err)
	}
}

// TestTLS reaches the page and the WebSocket by TLS.
func TestTLS(t *testing.T) {
	n := testNode(t, "")
	dir := t.TempDir()
	n.config.HTTP.TLS = TLSConfig{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	writeCertificate(t, n.config.HTTP.TLS, "localhost")
	p := start(t, n)
	if !strings.HasPrefix(p.URL, "https://localhost:") {
		t.Errorf("the page is at %s", p.URL)
	}
	config := &tls.Config{InsecureSkipVerify: true}
	browser := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
	page, err := browser.Get(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	page.Body.Close()
	if page.StatusCode != http.StatusOK {
		t.Errorf("page: %s", page.Status)
	}
	dialer := websocket.Dialer{TLSClientConfig: config, Subprotocols: []string{protocol.Subprotocol}}
	ws, answer, err := dialer.Dial("wss"+strings.TrimPrefix(p.URL, "https")+protocol.SocketPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	ws.Close()
}

// TestUnknownPathsAndMethods are answered, and not by the page.
func TestUnknownPathsAndMethods(t *testing.T) {
	p := start(t, testNode(t, ""))
	for path, want := range map[string]int{
		"/":                   http.StatusOK,
		"/switchboard.js":     http.StatusOK,
		"/v1/ws":              http.StatusBadRequest, // no handshake
		"/v1/register":        http.StatusMethodNotAllowed,
		"/v1/token/refresh":   http.StatusMethodNotAllowed,
		"/v1/asyncapi.json":   http.StatusOK,
		"/nowhere":            http.StatusNotFound,
		"/debug/pprof/":       http.StatusNotFound,
		"/../configs/dev.yml": http.StatusNotFound,
	} {
		if status, _ := p.get(p.HTTP, path); status != want {
			t.Errorf("GET %s: %d, want %d", path, status, want)
		}
	}
}

// TestReadinessBeforeTheLease asks a process that is not ready yet.
func TestReadinessBeforeTheLease(t *testing.T) {
	n := testNode(t, "")
	n.parts = append(n.parts, part{
		name:    "slow starter",
		run:     func(life context.Context) error { <-life.Done(); return nil },
		started: make(chan struct{}), // never
	})
	n.config.Ops.Listen = freeAddress(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.serve(ctx) }()
	var r readiness
	eventually(t, func() bool {
		resp, err := http.Get("http://" + n.config.Ops.Listen + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusServiceUnavailable && json.Unmarshal(text, &r) == nil && len(r.Parts) == 5
	})
	if r.Parts["process"] != errStarting.Error() || r.Parts["directory"] == "ok" || r.Parts["nats"] != "ok" {
		t.Errorf("got %v", r)
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Errorf("asked to end while starting: %v", err)
	}
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, ask func() bool) {
	t.Helper()
	again, timeout := time.NewTicker(10*time.Millisecond), time.After(patience)
	defer again.Stop()
	for !ask() {
		select {
		case <-again.C:
		case <-timeout:
			t.Fatal("waited in vain")
		}
	}
}

// freeAddress returns an address that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	ports, err := loopback.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0])
}

// safeBuffer is a buffer that many may write to.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
