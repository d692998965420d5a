package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// Numbers that are nobody's.
const (
	alice = "+14155550101"
	bob   = "+14155550102"
)

// patience bounds what a test waits for that should come at once.
const patience = 20 * time.Second

// register makes a device for a number, with the code that development leaves
// in a file, and returns its token.
func register(t *testing.T, a Addrs, number string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	asked, err := client.RequestCode(ctx, a.URL, number, "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Confirm(ctx, a.URL, asked.Verification, codeFor(t, a.Codes, number), "test phone")
	if err != nil {
		t.Fatal(err)
	}
	return got.Token
}

// codeFor returns the newest code for a number.
func codeFor(t *testing.T, file, number string) (code string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, number+" "); ok {
			code = strings.TrimSpace(rest)
		}
	}
	if code == "" {
		t.Fatalf("no code in %s", file)
	}
	return code
}

// connect opens a session that lasts until the test ends.
func connect(t *testing.T, a Addrs, token string) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{URL: a.URL, Token: token, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// await returns the next event of the type that is asked for.
func await[E client.Event](t *testing.T, c *client.Client) E {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e, open := <-c.Events():
			if !open {
				t.Fatalf("session ended: %v", c.Err())
			}
			if e, ok := e.(E); ok {
				return e
			}
		case <-timeout:
			var want E
			t.Fatalf("waited in vain for %T", want)
		}
	}
}

// awaitText returns the next text.
func awaitText(t *testing.T, c *client.Client) client.Item {
	t.Helper()
	for {
		if i := await[client.Item](t, c); i.Kind == protocol.KindMessage {
			return i
		}
	}
}

// awaitIn is await for the events of a call.
func awaitIn[E client.CallEvent](t *testing.T, k *client.Call) E {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		e, err := k.Next(ctx)
		if err != nil {
			var want E
			t.Fatalf("waited in vain for %T: %v", want, err)
		}
		if e, ok := e.(E); ok {
			return e
		}
	}
}

func send(t *testing.T, from *client.Client, to, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := from.Send(ctx, client.NewID(), to, text); err != nil {
		t.Fatal(err)
	}
}
