package push_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"switchboard/directory/directorytest"
	"switchboard/directory/natsnode"
	"switchboard/signaling/auth"
	"switchboard/signaling/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret   = "a secret of the operator's"
	acct     = "0000000000001"
	patience = 20 * time.Second
)

var dev = push.Device{Account: acct, Device: 2}

// service is a push service, or the operator's own.
type service struct {
	*httptest.Server
	got    chan received
	answer atomic.Int64 // status
}

type received struct {
	header http.Header
	body   []byte
}

func startService(t *testing.T, status int) *service {
	s := &service{got: make(chan received, 100)}
	s.answer.Store(int64(status))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.got <- received{r.Header, body}
		w.WriteHeader(int(s.answer.Load()))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) await(t *testing.T) received {
	t.Helper()
	select {
	case r := <-s.got:
		return r
	case <-time.After(patience):
		t.Fatal("no push came")
		return received{}
	}
}

type house struct {
	*push.Queue
	gone chan push.Target
	log  *strings.Builder
}

// open opens a queue that is not running yet.
func open(t *testing.T, n *natsnode.Node, s *service, configure func(*push.Config)) *house {
	t.Helper()
	c := push.Default()
	c.Webhook.URL, c.Webhook.SecretFile = s.URL+"/hook", "x"
	c.WebPush.Subject, c.Development = "mailto:operator@example.org", true
	if configure != nil {
		configure(&c)
	}
	h := &house{gone: make(chan push.Target, 10), log: &strings.Builder{}}
	q, err := push.Open(t.Context(), c, push.Deps{
		JetStream: n.JetStream(), WebhookSecret: []byte(secret + "\n"), VAPID: push.NewVAPID(),
		Gone: func(_ context.Context, _ push.Device, tg push.Target) { h.gone <- tg },
		Log:  slog.New(slog.NewTextHandler(h.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	push.SetAgain(q, 20*time.Millisecond)
	h.Queue = q
	return h
}

func (h *house) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
		ended <- nil
	}
	t.Cleanup(stop)
	return stop
}

func (h *house) put(t *testing.T, tg push.Target, w push.Wake) {
	t.Helper()
	if err := h.Put(t.Context(), dev, tg, w); err != nil {
		t.Fatal(err)
	}
}

// dead waits for n pushes that could not be brought.
func (h *house) dead(t *testing.T, n int) []push.Dead {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		all, err := h.Dead(t.Context(), "", 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) >= n {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d could not be brought, want %d", len(all), n)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

var hook = push.Target{Kind: push.Webhook, Token: "the app's token"}

type notice struct {
	ID, Reason, Account, Token, Call string
	Device                           uint32
	Made, Expires                    int64
}

func noticeOf(t *testing.T, body []byte) notice {
	t.Helper()
	var n notice
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields() // a push says no more than this
	if err := d.Decode(&n); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return n
}

func TestWebhook(t *testing.T) {
	s := startService(t, 202)
	h := open(t, directorytest.NATS(t), s, nil)
	h.run(t)
	until := time.Now().Add(30 * time.Second)
	h.put(t, hook, push.Wake{Reason: push.Ring, Call: "call.1 *>", Expires: until})
	got := s.await(t)
	sig := got.header.Get(auth.HeaderSignature)
	at, _, _ := strings.Cut(strings.TrimPrefix(sig, "t="), ",")
	var sec int64
	if err := json.Unmarshal([]byte(at), &sec); err != nil {
		t.Fatalf("signature %q", sig)
	}
	if want := auth.Sign([]byte(secret), time.Unix(sec, 0), got.body); sig != want {
		t.Errorf("signature %q, want %q", sig, want)
	}
	n := noticeOf(t, got.body)
	if n.Reason != "ring" || n.Call != "call.1 *>" || n.Account != acct || n.Device != 2 || n.Token != hook.Token || n.ID == "" || n.Expires != until.UnixMilli() {
		t.Errorf("told %+v", n)
	}
}

// A push is tried until it is taken, with one ID.
func TestAgainUntilTaken(t *testing.T) {
	s := startService(t, 503)
	h := open(t, directorytest.NATS(t), s, nil)
	h.run(t)
	h.put(t, hook, push.Wake{Reason: push.Message})
	first := noticeOf(t, s.await(t).body)
	second := noticeOf(t, s.await(t).body)
	s.answer.Store(200)
	third := noticeOf(t, s.await(t).body)
	if first.ID != second.ID || first.ID != third.ID {
		t.Errorf("IDs %s, %s, %s", first.ID, second.ID, third.ID)
	}
	if all, err := h.Dead(t.Context(), acct, 0, 10); err != nil || len(all) != 0 {
		t.Errorf("kept for operators: %v, %v", all, err)
	}
}

func TestGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		status, tries int
		gone          bool
		why           string
	}{
		"too often":      {500, 3, false, "answered 500"},
		"refused":        {400, 1, false, "refused"},
		"target is gone": {410, 1, true, "gone"},
		"redirected":     {302, 1, false, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startService(t, c.status)
			h := open(t, directorytest.NATS(t), s, func(c *push.Config) { c.Attempts = 3 })
			h.run(t)
			h.put(t, hook, push.Wake{Reason: push.Message})
			d := h.dead(t, 1)[0]
			if d.Tried != c.tries || len(s.got) != c.tries || !strings.Contains(d.Why, c.why) || d.Account != acct || d.Device != 2 || d.Seq == 0 {
				t.Errorf("%d attempts, kept %+v", len(s.got), d)
			}
			if data, _ := json.Marshal(d); strings.Contains(string(data), hook.Token) {
				t.Errorf("the operator reads the token: %s", data)
			}
			select {
			case tg := <-h.gone:
				if !c.gone || tg != hook {
					t.Errorf("%v is gone", tg)
				}
			case <-time.After(100 * time.Millisecond):
				if c.gone {
					t.Error("nobody was told that the target is gone")
				}
			}
		})
	}
}

// Of what waits, the newest leaves: a phone that was off is woken once, and a
// call that rings no longer does not ring.
func TestNewerTakesThePlace(t *testing.T) {
	s := startService(t, 200)
	h := open(t, directorytest.NATS(t), s, nil)
	for range 5 {
		h.put(t, hook, push.Wake{Reason: push.Message})
	}
	soon := time.Now().Add(30 * time.Second)
	h.put(t, hook, push.Wake{Reason: push.Ring, Call: "c1", Expires: soon})
	h.put(t, hook, push.Wake{Reason: push.Ring, Call: "c2", Expires: soon})
	h.put(t, hook, push.Wake{Reason: push.Stop, Call: "c1", Expires: soon})
	h.run(t)
	got := map[string]string{}
	for range 3 {
		n := noticeOf(t, s.await(t).body)
		got[n.Call] = n.Reason
	}
	if got[""] != "message" || got["c1"] != "stop" || got["c2"] != "ring" {
		t.Errorf("left: %v", got)
	}
	select {
	case r := <-s.got:
		t.Errorf("one more: %s", r.body)
	case <-time.After(200 * time.Millisecond):
	}
}

// What is of no use any more does not leave.
func TestExpired(t *testing.T) {
	s := startService(t, 200)
	h := open(t, directorytest.NATS(t), s, nil)
	h.put(t, hook, push.Wake{Reason: push.Ring, Call: "late", Expires: time.Now().Add(-time.Second)})
	h.put(t, hook, push.Wake{Reason: push.Ring, Call: "soon", Expires: time.Now().Add(1200 * time.Millisecond)})
	time.Sleep(1500 * time.Millisecond) // the server's clock decides, and is real
	h.put(t, hook, push.Wake{Reason: push.Message})
	h.run(t)
	if n := noticeOf(t, s.await(t).body); n.Reason != "message" {
		t.Errorf("left: %+v", n)
	}
}

// A push outlives the process that took it.
func TestRestart(t *testing.T) {
	s := startService(t, 500)
	dir := t.TempDir()
	n := directorytest.NATSIn(t, dir)
	h := open(t, n, s, nil)
	stop := h.run(t)
	h.put(t, hook, push.Wake{Reason: push.Message})
	first := noticeOf(t, s.await(t).body)
	stop()
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.answer.Store(200)
	for len(s.got) > 0 {
		<-s.got
	}
	open(t, directorytest.NATSIn(t, dir), s, nil).run(t)
	if again := noticeOf(t, s.await(t).body); again.ID != first.ID {
		t.Errorf("after a restart came %+v, want %s", again, first.ID)
	}
}

// subscription is what a browser has: it decrypts (RFC 8291).
type subscription struct {
	key    *ecdh.PrivateKey
	secret []byte
}

func subscribe(t *testing.T, endpoint string) (*subscription, push.Target) {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &subscription{key, []byte("0123456789abcdef")}
	e := base64.RawURLEncoding.EncodeToString
	return s, push.Target{Kind: push.WebPush, Endpoint: endpoint, Key: e(key.PublicKey().Bytes()), Auth: e(s.secret)}
}

// decrypt opens the one record of an aes128gcm body (RFC 8188).
func (s *subscription) decrypt(t *testing.T, body []byte) []byte {
	t.Helper()
	salt, keyLen := body[:16], int(body[20])
	theirs, sealed := body[21:21+keyLen], body[21+keyLen:]
	pub, err := ecdh.P256().NewPublicKey(theirs)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := s.key.ECDH(pub)
	if err != nil {
		t.Fatal(err)
	}
	derive := func(secret, salt []byte, info string, n int) []byte {
		k, err := hkdf.Key(sha256.New, secret, salt, info, n)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ikm := derive(shared, s.secret, "WebPush: info\x00"+string(s.key.PublicKey().Bytes())+string(theirs), 32)
	block, err := aes.NewCipher(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gcm.Open(nil, derive(ikm, salt, "Content-Encoding: nonce\x00", 12), sealed, nil)
	if err != nil {
		t.Fatalf("the browser cannot read it: %v", err)
	}
	text, ok := strings.CutSuffix(strings.TrimRight(string(plain), "\x00"), "\x02")
	if !ok {
		t.Fatal("the last record is not marked as such")
	}
	return []byte(text)
}

func TestWebPush(t *testing.T) {
	s := startService(t, 201)
	h := open(t, directorytest.NATS(t), s, nil)
	h.run(t)
	sub, target := subscribe(t, s.URL+"/send/abc")
	h.put(t, target, push.Wake{Reason: push.Ring, Call: "c1", Expires: time.Now().Add(40 * time.Second)})
	got := s.await(t)
	n := noticeOf(t, sub.decrypt(t, got.body))
	if n.Reason != "ring" || n.Call != "c1" || n.Account != "" || n.Token != "" {
		t.Errorf("told %+v", n)
	}
	if u, ttl, topic := got.header.Get("Urgency"), got.header.Get("TTL"), got.header.Get("Topic"); u != "high" || (ttl != "39" && ttl != "40") || topic == "" || len(topic) > 32 {
		t.Errorf("urgency %q, TTL %q, topic %q", u, ttl, topic)
	}
	token, key, _ := strings.Cut(strings.TrimPrefix(got.header.Get("Authorization"), "vapid t="), ",")
	if strings.TrimPrefix(strings.TrimSpace(key), "k=") != h.PublicKey() {
		t.Errorf("signed by %q, want %q", key, h.PublicKey())
	}
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, claims); err != nil || claims["aud"] != s.URL || claims["sub"] != "mailto:operator@example.org" {
		t.Errorf("token says %v, %v", claims, err)
	}
}

// Endpoints come from clients: none may have the server knock inside its own
// network.
func TestWebPushGoesToPublicAddressesAlone(t *testing.T) {
	s := startService(t, 201)
	h := open(t, directorytest.NATS(t), s, func(c *push.Config) { c.Development = false })
	h.run(t)
	_, target := subscribe(t, s.URL+"/send/abc")
	h.put(t, target, push.Wake{Reason: push.Message})
	if d := h.dead(t, 1)[0]; !strings.Contains(d.Why, "public") || d.Tried != 1 || d.Service != "127.0.0.1" {
		t.Errorf("kept %+v", d)
	}
	if len(s.got) > 0 {
		t.Error("it knocked")
	}
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "127.0.0.1": false, "10.1.2.3": false, "169.254.169.254": false, "100.64.0.1": false,
		"::1": false, "::ffff:10.0.0.1": false, "fe80::1": false, "fd00::1": false, "64:ff9b::a00:1": false, "2002:a00:1::": false, "0.0.0.0": false, "224.0.0.1": false,
	} {
		if got := push.Public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("public(%s) = %v", addr, got)
		}
	}
}

func TestTargets(t *testing.T) {
	_, good := subscribe(t, "https://push.example/abc")
	with := func(f func(*push.Target)) push.Target { x := good; f(&x); return x }
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for field, bad := range map[string]push.Target{
		"kind":     {Kind: "pigeon"},
		"token":    {Kind: push.Webhook, Token: strings.Repeat("x", 5000)},
		"endpoint": with(func(x *push.Target) { x.Endpoint = "http://push.example/abc" }),
		"p256dh":   with(func(x *push.Target) { x.Key = "AAAA" }),
		"auth":     with(func(x *push.Target) { x.Auth = "AAAA" }),
	} {
		var te *push.TargetError
		if err := bad.Validate(); !errors.As(err, &te) || te.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestConfig(t *testing.T) {
	if err := push.Default().Validate(); err != nil {
		t.Error(err)
	}
	err := push.Config{Webhook: push.WebhookConfig{URL: "http://elsewhere.example/"}, WebPush: push.WebPushConfig{Subject: "me"}}.Validate()
	for _, key := range []string{"push.workers", "push.attempts", "push.timeout", "push.webhook.url", "push.webhook.secret_file", "push.webpush.subject"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}

func TestOff(t *testing.T) {
	s := startService(t, 200)
	h := open(t, directorytest.NATS(t), s, func(c *push.Config) { c.Webhook, c.WebPush = push.WebhookConfig{}, push.WebPushConfig{} })
	if h.Takes(push.Webhook) || h.PublicKey() != "" {
		t.Error("something is on")
	}
	h.put(t, hook, push.Wake{Reason: push.Message}) // stays without effect
}

func TestNothingToLog(t *testing.T) {
	s := startService(t, 500)
	h := open(t, directorytest.NATS(t), s, func(c *push.Config) { c.Attempts = 2 })
	stop := h.run(t)
	_, target := subscribe(t, s.URL+"/send/very-secret")
	h.put(t, target, push.Wake{Reason: push.Message})
	h.put(t, push.Target{Kind: push.Webhook, Token: "very-secret"}, push.Wake{Reason: push.Ring, Call: "c"})
	why := h.dead(t, 1)
	stop()
	if text, _ := json.Marshal(why); strings.Contains(h.log.String()+string(text), "very-secret") {
		t.Errorf("%s %s", h.log, text)
	}
}

func FuzzDecodeJob(f *testing.F) {
	f.Add([]byte(`{"v":1,"id":"x","reason":"ring","account":"0000000000001","device":1,"call":"c","target":{"kind":"webhook","token":"t"}}`))
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := push.DecodeJob(data); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
