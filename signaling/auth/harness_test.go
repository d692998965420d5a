package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	alice = "+14155550101"
	bob   = "+14155550102"
)

var (
	testKey   = bytes.Repeat([]byte("k"), 32)
	codeKey   = bytes.Repeat([]byte("c"), 32)
	firstKeys = mustKeys(testKey)
)

func mustKeys(secrets ...[]byte) auth.Keys {
	var keys auth.Keys
	for _, s := range secrets {
		k, err := auth.NewKey(s)
		if err != nil {
			panic(err)
		}
		keys = append(keys, k)
	}
	return keys
}

// node is a Registrar and an Authenticator, on stores that others may share.
type node struct {
	t        testing.TB
	accounts auth.Accounts
	records  auth.Records
	config   auth.Config
	sender   *outbox
	auth     *auth.Authenticator
	handler  http.Handler
	log      *bytes.Buffer
	metrics  *prometheus.Registry
	from     string // RemoteAddr of requests
}

// newNode makes a node on its own fakes. configure may be nil.
func newNode(t testing.TB, configure func(*auth.Config)) *node {
	t.Helper()
	return newNodeOn(t, directorytest.New(), callstoretest.New(), configure)
}

func newNodeOn(t testing.TB, accounts auth.Accounts, records auth.Records, configure func(*auth.Config)) *node {
	t.Helper()
	n := &node{
		t: t, accounts: accounts, records: records, config: auth.Default(), sender: &outbox{},
		log: &bytes.Buffer{}, metrics: prometheus.NewRegistry(), from: "192.0.2.1:4000",
	}
	n.config.AddressPerHour, n.config.AddressBurst = 1000, 1000
	if configure != nil {
		configure(&n.config)
	}
	n.start(firstKeys, n.sender)
	return n
}

func (n *node) start(keys auth.Keys, sender auth.Sender) {
	n.t.Helper()
	var err error
	if n.auth, err = auth.NewAuthenticator(n.t.Context(), n.config, keys, n.accounts); err != nil {
		n.t.Fatal(err)
	}
	n.handler, err = auth.NewRegistrar(n.config, auth.Deps{
		Authenticator: n.auth, Records: n.records, Sender: sender, Key: codeKey,
		AllowedOrigins: []string{"https://phone.example"},
		Log:            slog.New(slog.NewTextHandler(&locked{w: n.log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer:     n.metrics,
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// outbox is a Sender that keeps what it is given.
type outbox struct {
	mu    sync.Mutex
	codes []string
	to    []string
	whys  []auth.Purpose
	fail  error
}

func (o *outbox) Send(_ context.Context, to e164.Number, code string, p auth.Purpose) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.codes, o.to, o.whys = append(o.codes, code), append(o.to, to.E164()), append(o.whys, p)
	return o.fail
}

func (o *outbox) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.codes[len(o.codes)-1]
}

func (o *outbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.codes)
}

// do makes one request; body may be nil.
func (n *node) do(method, path, token string, body any) *httptest.ResponseRecorder {
	n.t.Helper()
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			n.t.Fatal(err)
		}
	}
	r := httptest.NewRequest(method, path, bytes.NewReader(b))
	r.RemoteAddr = n.from
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	n.handler.ServeHTTP(w, r)
	return w
}

// ask is do for a POST whose error is looked at.
func ask[T any](n *node, path, token string, body any) (T, error) {
	n.t.Helper()
	return askWith[T](n, http.MethodPost, path, token, body)
}

// askWith is ask with another method.
func askWith[T any](n *node, method, path, token string, body any) (T, error) {
	n.t.Helper()
	w := n.do(method, path, token, body)
	var reply T
	if w.Code == http.StatusNoContent {
		return reply, nil
	}
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
			n.t.Fatal(err)
		}
		return reply, nil
	}
	return reply, errorIn(n.t, w)
}

func errorIn(t testing.TB, w *httptest.ResponseRecorder) *protocol.Error {
	t.Helper()
	var e protocol.ErrorReply
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error == nil {
		t.Fatalf("HTTP %d without an error: %q", w.Code, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
	if (e.Error.AfterMS > 0) != (w.Header().Get("Retry-After") != "") {
		t.Errorf("after_ms is %d and Retry-After %q", e.Error.AfterMS, w.Header().Get("Retry-After"))
	}
	return e.Error
}

func (n *node) register(number string) (protocol.RegisterReply, error) {
	n.t.Helper()
	return ask[protocol.RegisterReply](n, protocol.PathRegister, "", protocol.RegisterRequest{Number: number})
}

func (n *node) mustRegister(number string) protocol.RegisterReply {
	n.t.Helper()
	r, err := n.register(number)
	if err != nil {
		n.t.Fatalf("register: %v", err)
	}
	return r
}

func (n *node) confirm(verification, code string) (protocol.TokenReply, error) {
	n.t.Helper()
	return ask[protocol.TokenReply](n, protocol.PathConfirm, "", protocol.ConfirmRequest{Verification: verification, Code: code, Device: "phone"})
}

// device registers and confirms.
func (n *node) device(number string) protocol.TokenReply {
	n.t.Helper()
	asked := n.mustRegister(number)
	r, err := n.confirm(asked.Verification, n.sender.last())
	if err != nil {
		n.t.Fatalf("confirm: %v", err)
	}
	return r
}

func (n *node) refresh(token string) (protocol.TokenReply, error) {
	n.t.Helper()
	return ask[protocol.TokenReply](n, protocol.PathRefresh, token, nil)
}

func (n *node) revoke(token string) error {
	n.t.Helper()
	_, err := ask[struct{}](n, protocol.PathRevoke, token, nil)
	return err
}

func (n *node) devices(account string) []directory.DeviceRecord {
	n.t.Helper()
	d, err := n.accounts.Devices(n.t.Context(), directory.Account(account))
	if err != nil {
		n.t.Fatal(err)
	}
	return d
}

// want checks the code of an error, "" for none, and returns the error.
func want(t testing.TB, err error, code protocol.Code) *protocol.Error {
	t.Helper()
	if got := protocol.CodeOf(err); got != code || (err == nil) != (code == "") {
		t.Fatalf("got error %v, want code %q", err, code)
	}
	e, _ := errors.AsType[*protocol.Error](err)
	return e
}

// wantReason checks that a token is bad for a reason.
func wantReason(t testing.TB, err error, reason string) {
	t.Helper()
	if e := want(t, err, protocol.CodeToken); e.Info["reason"] != reason {
		t.Fatalf("the token is bad because %q, want %q", e.Info["reason"], reason)
	}
}

// wrong returns a code that is not the one given.
func wrong(code string) string {
	return strings.Map(func(r rune) rune { return '0' + (r-'0'+1)%10 }, code)
}

// within reports whether d is at most a second less than want.
func within(d, want time.Duration) bool { return d <= want && d > want-time.Second }

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
