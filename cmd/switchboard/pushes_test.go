package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
	"switchboard/signaling/push"
	"switchboard/signaling/push/pushtest"
)

const hookSecret = "what signs for the operator"

// sleepy are two nodes that wake devices.
type sleepy struct {
	t        *testing.T
	one, two *process
	operator *operator
	service  *pushtest.Service
	logs     *safeBuffer
}

func startSleepy(t *testing.T, settings string) *sleepy {
	t.Helper()
	s := &sleepy{t: t, service: pushtest.Start(t, 202), logs: &safeBuffer{}}
	file := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(file, []byte(hookSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	nats := startNATS(t).ClientURL()
	settings = fmt.Sprintf("push: {webhook: {url: '%s/hook', secret_file: %s}, webpush: {subject: 'https://example.org'}%s}", s.service.URL, file, settings)
	with := func(name string) *node {
		return testNode(t, fmt.Sprintf("{node: %s, nats: {url: '%s', replicas: 1}, %s, log: {level: debug}}", name, nats, settings))
	}
	one, two := with("one"), with("two")
	two.config.SecretFile = one.config.SecretFile
	one.log, two.log = newLogger(one.config.Log, s.logs), newLogger(two.config.Log, s.logs)
	s.one, s.two = start(t, one), start(t, two)
	s.operator = at(t, two, s.two)
	return s
}

// sleeper registers a device that is woken in a way, and goes away.
func (s *sleepy) sleeper(number string, target push.Target) (token string, w protocol.Welcome) {
	s.t.Helper()
	token = register(s.t, s.two.Addrs, number)
	c := connect(s.t, s.two.Addrs, token)
	await[client.Connected](s.t, c)
	err := c.SetPush(s.t.Context(), &protocol.PushTarget{
		Kind: string(target.Kind), Token: target.Token, Endpoint: target.Endpoint, P256DH: target.Key, Auth: target.Auth,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	w = c.Welcome()
	c.Close()
	s.away(number)
	return token, w
}

// away waits until all nodes know that a number is.
func (s *sleepy) away(number string) {
	s.t.Helper()
	eventually(s.t, func() bool {
		_, out, _ := s.operator.run("lookup", number)
		return strings.Contains(out, "online   no")
	})
}

// TestWebhookWakes has a device that is away woken for a text and a call by the
// operator's service, over two nodes. The call rings on it once it has come.
func TestWebhookWakes(t *testing.T) {
	s := startSleepy(t, "")
	a := connect(t, s.one.Addrs, register(t, s.one.Addrs, alice))
	token, w := s.sleeper(bob, push.Target{Kind: push.Webhook, Token: "bobs-secret-app"})
	if w.Push == nil || !w.Push.Webhook || w.Push.VAPID == "" {
		t.Fatalf("welcome says %+v", w.Push)
	}
	s.operator.must([]string{`webhook`}, "lookup", bob)

	send(t, a, bob, "a text that no push carries")
	n := pushtest.Signed(t, s.service.Await(), hookSecret)
	if n.Reason != "message" || n.Token != "bobs-secret-app" || n.Device != 1 || n.Call != "" {
		t.Errorf("for a text: %+v", n)
	}
	b := connect(t, s.one.Addrs, token)
	if got := awaitText(t, b); got.Body != "a text that no push carries" {
		t.Errorf("text %q", got.Body)
	}
	b.Close()
	s.away(bob)

	out, _, err := a.Invite(t.Context(), client.NewID(), bob, []protocol.Media{protocol.Audio}, "v=0 a-secret-offer")
	if err != nil {
		t.Fatal(err)
	}
	n = pushtest.Signed(t, s.service.Await(), hookSecret)
	if n.Reason != "ring" || n.Call != out.ID || time.Until(time.UnixMilli(n.Expires)) < 20*time.Second {
		t.Errorf("for a call: %+v", n)
	}
	b = connect(t, s.two.Addrs, token)
	in := await[client.Incoming](t, b).Call
	if in.ID != n.Call {
		t.Errorf("call %s rings, woken for %s", in.ID, n.Call)
	}
	if err := in.Answer(t.Context(), "v=0 answer"); err != nil {
		t.Fatal(err)
	}
	awaitIn[client.Answered](t, out)
	if err := out.Hangup(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.Close()
	s.away(bob)

	// Whoever gives up is not rung for any more.
	out, _, err = a.Invite(t.Context(), client.NewID(), bob, []protocol.Media{protocol.Audio}, "v=0 offer")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ring", "stop"} {
		n = pushtest.Signed(t, s.service.Await(), hookSecret)
		if n.Reason != want || n.Call != out.ID {
			t.Fatalf("told %+v, want %s of %s", n, want, out.ID)
		}
		if want == "ring" {
			if err := out.Cancel(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.quiet()
}

// quiet checks that no push is left, and that nothing was told to the log that is
// nobody else's business.
func (s *sleepy) quiet() {
	s.t.Helper()
	s.service.None(200 * time.Millisecond)
	for _, secret := range []string{"415555", "bobs-secret", "a text that", "a-secret-offer", hookSecret, s.service.URL} {
		if strings.Contains(s.logs.String(), secret) {
			s.t.Errorf("%q is in the log", secret)
		}
	}
}

// TestWebPushWakes does so by a browser's push service, which must believe the
// signature; the browser must be able to read it.
func TestWebPushWakes(t *testing.T) {
	s := startSleepy(t, "")
	a := connect(t, s.one.Addrs, register(t, s.one.Addrs, alice))
	browser := pushtest.Subscribe(t, s.service.URL+"/bobs-secret-place")
	_, w := s.sleeper(bob, browser.Target)

	send(t, a, bob, "a text that no push carries")
	if n := browser.Read(s.service.Await(), w.Push.VAPID); n.Reason != "message" || n.Token != "" || n.Account != "" {
		t.Errorf("for a text: %+v", n)
	}
	out, _, err := a.Invite(t.Context(), client.NewID(), bob, []protocol.Media{protocol.Audio}, "v=0 a-secret-offer")
	if err != nil {
		t.Fatal(err)
	}
	if n := browser.Read(s.service.Await(), w.Push.VAPID); n.Reason != "ring" || n.Call != out.ID {
		t.Errorf("for a call: %+v", n)
	}
	if err := out.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := browser.Read(s.service.Await(), w.Push.VAPID); n.Reason != "stop" || n.Call != out.ID {
		t.Errorf("when it is over: %+v", n)
	}
	s.quiet()
}

// TestPushesForOperators shows what operators see of pushes that could not be
// brought, and what they can do about them.
func TestPushesForOperators(t *testing.T) {
	s := startSleepy(t, ", attempts: 1")
	a := connect(t, s.one.Addrs, register(t, s.one.Addrs, alice))
	s.operator.must([]string{`^PLACE`}, "pushes")
	s.sleeper(bob, push.Target{Kind: push.Webhook, Token: "bobs-secret-app"})
	s.service.Answer(500)
	send(t, a, bob, "one")
	s.service.Await()
	line := `^1 +\S+ \S+ +\S+ +1 +webhook +- +message +1 +answered 500$`
	eventually(t, func() bool { _, out, _ := s.operator.run("pushes"); return strings.Contains(out, "answered 500") })
	s.operator.must([]string{line}, "pushes")
	s.operator.must([]string{line}, "pushes", "-number", bob)
	if out := s.operator.must(nil, "pushes", "-number", alice); strings.Contains(out, "webhook") {
		t.Errorf("of another number:\n%s", out)
	}

	// Once more, now that the service is well.
	s.service.Answer(202)
	s.operator.must([]string{"woken once more"}, "retry-push", "1")
	if n := pushtest.Signed(t, s.service.Await(), hookSecret); n.Reason != "message" || n.Token != "bobs-secret-app" {
		t.Errorf("once more: %+v", n)
	}
	s.operator.fails(exitFailed, "no such push", "retry-push", "1")

	// The service says that the app is gone: the device cannot be woken any more,
	// until it says how anew.
	s.service.Answer(410)
	send(t, a, bob, "two")
	s.service.Await()
	eventually(t, func() bool { _, out, _ := s.operator.run("pushes"); return strings.Contains(out, "gone") })
	s.operator.fails(exitFailed, "has not said how", "retry-push", "2")
	send(t, a, bob, "three")
	s.service.None(300 * time.Millisecond)
	s.operator.must([]string{"dropped"}, "drop-push", "2")
	s.operator.fails(exitUsage, "is no PLACE", "drop-push", "two")
	s.quiet()
}
