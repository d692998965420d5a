package fleet_test

import (
	"bytes"
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"switchboard/cmd/switchboard/internal/fleet"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// TestThreeNodes is a cluster as it is meant to be: three NATS servers and three
// nodes, each a process; phones on different nodes text and call each other.
func TestThreeNodes(t *testing.T) {
	c, err := fleet.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c.Dir, c.Servers, c.Nodes, c.Log = t.TempDir(), 3, 3, &log
	f, err := fleet.Start(t.Context(), c)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	var phones []*client.Client
	for i, n := range f.Nodes {
		phones = append(phones, dial(t, n, number(i)))
	}
	for i, from := range phones {
		to := (i + 1) % len(phones)
		text(t, from, phones[to], number(to))
		call(t, from, phones[to], number(to))
	}
	for _, p := range phones {
		p.Close()
	}
	var processes []int
	for _, n := range f.Nodes {
		processes = append(processes, n.PID())
	}
	for _, s := range f.Servers {
		processes = append(processes, s.PID())
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for _, pid := range processes {
		if err := syscall.Kill(pid, 0); pid == 0 || err == nil {
			t.Errorf("process %d did not run, or still does", pid)
		}
	}
	for i := range phones {
		if strings.Contains(log.String(), number(i)[1:]) {
			t.Error("a number is in the log")
		}
	}
}

func number(i int) string { return []string{"+14155550171", "+14155550172", "+14155550173"}[i] }

// dial registers a number at a node and connects a phone to it.
func dial(t *testing.T, n *fleet.Node, number string) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := n.Register(ctx, number)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(ctx, client.Options{URL: n.URL, Token: got.Token, Name: "test", Stay: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// await returns the next event of a kind.
func await[E client.Event](t *testing.T, c *client.Client, good func(E) bool) E {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e, open := <-c.Events():
			if !open {
				t.Fatalf("session ended: %v", c.Err())
			}
			if e, ok := e.(E); ok && good(e) {
				return e
			}
		case <-timeout:
			var want E
			t.Fatalf("waited in vain for %T", want)
		}
	}
}

func text(t *testing.T, from, to *client.Client, number string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	id := client.NewID()
	if _, err := from.Send(ctx, id, number, "across"); err != nil {
		t.Fatal(err)
	}
	got := await(t, to, func(i client.Item) bool { return i.Kind == protocol.KindMessage && i.ID == id })
	got.Ack()
	if got.Body != "across" || got.From != from.Number() {
		t.Errorf("got %q from %v", got.Body, got.From)
	}
}

func call(t *testing.T, from, to *client.Client, number string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, _, err := from.Invite(ctx, client.NewID(), number, []protocol.Media{protocol.Audio}, "v=0 offer")
	if err != nil {
		t.Fatal(err)
	}
	in := await(t, to, func(i client.Incoming) bool { return i.Call.ID == out.ID }).Call
	in.Ringing()
	if err := in.Answer(ctx, "v=0 answer"); err != nil {
		t.Fatal(err)
	}
	follow[client.Answered](t, out)
	if err := in.Hangup(ctx, ""); err != nil {
		t.Fatal(err)
	}
	follow[client.Ended](t, out)
	follow[client.Ended](t, in)
}

// follow waits for an event of a call.
func follow[E client.CallEvent](t *testing.T, k *client.Call) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		e, err := k.Next(ctx)
		if err != nil {
			var want E
			t.Fatalf("waited in vain for %T: %v", want, err)
		}
		if _, ok := e.(E); ok {
			return
		}
	}
}
