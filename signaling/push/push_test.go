package push_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"switchboard/directory/directorytest"
	"switchboard/directory/natsnode"
	"switchboard/signaling/push"
	"switchboard/signaling/push/pushtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret   = "a secret of the operator's"
	acct     = "0000000000001"
	patience = 20 * time.Second
)

var dev = push.Device{Account: acct, Device: 2}

type house struct {
	*push.Queue
	gone chan push.Target
	log  *strings.Builder
}

// open opens a queue that is not running yet.
func open(t *testing.T, n *natsnode.Node, s *pushtest.Service, configure func(*push.Config)) *house {
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

func TestWebhook(t *testing.T) {
	s := pushtest.Start(t, 202)
	h := open(t, directorytest.NATS(t), s, nil)
	h.run(t)
	until := time.Now().Add(30 * time.Second)
	h.put(t, hook, push.Wake{Reason: push.Ring, Call: "call.1 *>", Expires: until})
	n := pushtest.Signed(t, s.Await(), secret)
	if n.Reason != "ring" || n.Call != "call.1 *>" || n.Account != acct || n.Device != 2 || n.Token != hook.Token || n.ID == "" || n.Expires != until.UnixMilli() {
		t.Errorf("told %+v", n)
	}
}

// A push is tried until it is taken, with one ID.
func TestAgainUntilTaken(t *testing.T) {
	s := pushtest.Start(t, 503)
	h := open(t, directorytest.NATS(t), s, nil)
	h.run(t)
	h.put(t, hook, push.Wake{Reason: push.Message})
	first := pushtest.Signed(t, s.Await(), secret)
	second := pushtest.Signed(t, s.Await(), secret)
	s.Answer(200)
	third := pushtest.Signed(t, s.Await(), secret)
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
		"too often":       {500, 3, false, "answered 500"},
		"refused":         {400, 1, false, "refused"},
		"target is gone":  {410, 1, true, "gone"},
		"service is gone": {404, 3, false, "answered 404"}, // which says nothing of the device
		"redirected":      {302, 1, false, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := pushtest.Start(t, c.status)
			h := open(t, directorytest.NATS(t), s, func(c *push.Config) { c.Attempts = 3 })
			h.run(t)
			h.put(t, hook, push.Wake{Reason: push.Message})
			d := h.dead(t, 1)[0]
			if d.Tried != c.tries || s.Left() != c.tries || !strings.Contains(d.Why, c.why) || d.Account != acct || d.Device != 2 || d.Seq == 0 {
				t.Errorf("%d attempts, kept %+v", s.Left(), d)
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

// What operators have seen to is taken off the list, and nothing else.
func TestDeadAreTakenOff(t *testing.T) {
	s := pushtest.Start(t, 400)
	h := open(t, directorytest.NATS(t), s, nil)
	h.run(t)
	for _, call := range []string{"a", "b", "c"} {
		h.put(t, hook, push.Wake{Reason: push.Ring, Call: call, Expires: time.Now().Add(time.Minute)})
	}
	dead := h.dead(t, 3)
	if err := h.DropDead(t.Context(), dead[1].Seq); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		h.DropDead(t.Context(), dead[1].Seq), h.DropDead(t.Context(), 1000),
		second(h.DeadAt(t.Context(), dead[1].Seq)), second(h.DeadAt(t.Context(), 1000)),
	} {
		if !errors.Is(err, push.ErrNoPush) {
			t.Errorf("what is not there: %v", err)
		}
	}
	if d, err := h.DeadAt(t.Context(), dead[2].Seq); err != nil || d != dead[2] {
		t.Errorf("what is there: %+v, %v", d, err)
	}
	left, err := h.Dead(t.Context(), acct, 0, 10)
	if err != nil || len(left) != 2 || left[0] != dead[0] || left[1] != dead[2] {
		t.Errorf("left: %+v, %v", left, err)
	}
	if page, err := h.Dead(t.Context(), acct, dead[0].Seq, 1); err != nil || len(page) != 1 || page[0] != dead[2] {
		t.Errorf("after the first: %+v, %v", page, err)
	}
}

func second[T any](_ T, err error) error { return err }

// Of what waits, the newest leaves: a phone that was off is woken once, and a
// call that rings no longer does not ring.
func TestNewerTakesThePlace(t *testing.T) {
	s := pushtest.Start(t, 200)
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
		n := pushtest.Signed(t, s.Await(), secret)
		got[n.Call] = n.Reason
	}
	if got[""] != "message" || got["c1"] != "stop" || got["c2"] != "ring" {
		t.Errorf("left: %v", got)
	}
	s.None(200 * time.Millisecond)
}

// What is of no use any more does not leave.
func TestExpired(t *testing.T) {
	s := pushtest.Start(t, 200)
	h := open(t, directorytest.NATS(t), s, nil)
	h.put(t, hook, push.Wake{Reason: push.Ring, Call: "late", Expires: time.Now().Add(-time.Second)})
	h.put(t, hook, push.Wake{Reason: push.Ring, Call: "soon", Expires: time.Now().Add(1200 * time.Millisecond)})
	time.Sleep(1500 * time.Millisecond) // the server's clock decides, and is real
	h.put(t, hook, push.Wake{Reason: push.Message})
	h.run(t)
	if n := pushtest.Signed(t, s.Await(), secret); n.Reason != "message" {
		t.Errorf("left: %+v", n)
	}
}

// A push outlives the process that took it.
func TestRestart(t *testing.T) {
	s := pushtest.Start(t, 500)
	dir := t.TempDir()
	n := directorytest.NATSIn(t, dir)
	h := open(t, n, s, nil)
	stop := h.run(t)
	h.put(t, hook, push.Wake{Reason: push.Message})
	first := pushtest.Signed(t, s.Await(), secret)
	stop()
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Answer(200)
	for s.Left() > 0 {
		s.Await()
	}
	open(t, directorytest.NATSIn(t, dir), s, nil).run(t)
	if again := pushtest.Signed(t, s.Await(), secret); again.ID != first.ID {
		t.Errorf("after a restart came %+v, want %s", again, first.ID)
	}
}

func TestWebPush(t *testing.T) {
	s := pushtest.Start(t, 201)
	h := open(t, directorytest.NATS(t), s, nil)
	h.run(t)
	b := pushtest.Subscribe(t, s.URL+"/send/abc")
	h.put(t, b.Target, push.Wake{Reason: push.Ring, Call: "c1", Expires: time.Now().Add(40 * time.Second)})
	got := s.Await()
	n := b.Read(got, h.PublicKey())
	if n.Reason != "ring" || n.Call != "c1" || n.Account != "" || n.Token != "" || got.Path != "/send/abc" {
		t.Errorf("told %+v at %s", n, got.Path)
	}
	if u, ttl, topic := got.Header.Get("Urgency"), got.Header.Get("TTL"), got.Header.Get("Topic"); u != "high" || (ttl != "39" && ttl != "40") || topic == "" || len(topic) > 32 {
		t.Errorf("urgency %q, TTL %q, topic %q", u, ttl, topic)
	}
}

// Endpoints come from clients: none may have the server knock inside its own
// network.
func TestWebPushGoesToPublicAddressesAlone(t *testing.T) {
	s := pushtest.Start(t, 201)
	h := open(t, directorytest.NATS(t), s, func(c *push.Config) { c.Development = false })
	h.run(t)
	target := pushtest.Subscribe(t, s.URL+"/send/abc").Target
	h.put(t, target, push.Wake{Reason: push.Message})
	if d := h.dead(t, 1)[0]; !strings.Contains(d.Why, "public") || d.Tried != 1 || d.Service != "127.0.0.1" {
		t.Errorf("kept %+v", d)
	}
	if s.Left() > 0 {
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
	good := pushtest.Subscribe(t, "https://push.example/abc").Target
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
	s := pushtest.Start(t, 200)
	h := open(t, directorytest.NATS(t), s, func(c *push.Config) { c.Webhook, c.WebPush = push.WebhookConfig{}, push.WebPushConfig{} })
	if h.Takes(push.Webhook) || h.PublicKey() != "" {
		t.Error("something is on")
	}
	h.put(t, hook, push.Wake{Reason: push.Message}) // stays without effect
}

func TestNothingToLog(t *testing.T) {
	s := pushtest.Start(t, 500)
	h := open(t, directorytest.NATS(t), s, func(c *push.Config) { c.Attempts = 2 })
	stop := h.run(t)
	target := pushtest.Subscribe(t, s.URL+"/send/very-secret").Target
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
