// Package pushtest has the other end of pushes, for tests: the operator's own
// service, and a browser with its push service.
package pushtest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/signaling/auth"
)

// patience bounds what a test waits for that should come at once.
const patience = 20 * time.Second

// Service takes pushes at any path. Its methods may be called concurrently, but
// those that fail the test only from the test's own goroutine.
type Service struct {
	URL string

	t      testing.TB
	got    chan Received
	answer atomic.Int64
}

// Received is a push as it came.
type Received struct {
	Header http.Header
	Path   string
	Body   []byte
}

// Notice is what a push says. It says no more than that.
type Notice struct {
	ID      string `json:"id"`
	Reason  string `json:"reason"`
	Account string `json:"account"`
	Device  uint32 `json:"device"`
	Token   string `json:"token"`
	Call    string `json:"call"`
	Made    int64  `json:"made"`
	Expires int64  `json:"expires"`
}

// Start serves until the test ends and answers with a status.
func Start(t testing.TB, status int) *Service {
	s := &Service{t: t, got: make(chan Received, 1000)}
	s.Answer(status)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		s.got <- Received{r.Header, r.URL.Path, body}
		w.WriteHeader(int(s.answer.Load()))
	}))
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

// Answer sets the status that is answered from now on.
func (s *Service) Answer(status int) { s.answer.Store(int64(status)) }

// Await returns the next push.
func (s *Service) Await() Received {
	s.t.Helper()
	select {
	case r := <-s.got:
		return r
	case <-time.After(patience):
		s.t.Fatal("no push came")
		return Received{}
	}
}

// Left is how many have come that nobody has waited for.
func (s *Service) Left() int { return len(s.got) }

// None looks for a while whether one more comes, which must not.
func (s *Service) None(d time.Duration) {
	s.t.Helper()
	select {
	case r := <-s.got:
		s.t.Errorf("one more push: %s", r.Body)
	case <-time.After(d):
	}
}

// Signed reads a push by webhook, and fails the test if the operator's service
// would not believe it.
func Signed(t testing.TB, r Received, secret string) Notice {
	t.Helper()
	sig := r.Header.Get(auth.HeaderSignature)
	at, _, _ := strings.Cut(strings.TrimPrefix(sig, "t="), ",")
	sec, err := strconv.ParseInt(at, 10, 64)
	if err != nil || time.Since(time.Unix(sec, 0)).Abs() > time.Minute {
		t.Fatalf("signature %q: %v", sig, err)
	}
	if want := auth.Sign([]byte(secret), time.Unix(sec, 0), r.Body); sig != want {
		t.Errorf("signature %q, want %q", sig, want)
	}
	return read(t, r.Body)
}

func read(t testing.TB, body []byte) (n Notice) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&n); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return n
}
