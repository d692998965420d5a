package plain_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"switchboard/cmd/switchboard/internal/fleet"
	"switchboard/cmd/switchboard/internal/plain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// TestAlone keeps the client independent: of Switchboard it knows the pages.
func TestAlone(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		if dep == "switchboard/cmd/switchboard/internal/plain" {
			continue
		}
		if host, _, _ := strings.Cut(dep, "/"); strings.HasPrefix(dep, "switchboard") || strings.Contains(host, ".") && dep != "github.com/gorilla/websocket" {
			t.Errorf("the client imports %s", dep)
		}
	}
}

func house(t *testing.T, servers, nodes int) *fleet.Fleet {
	t.Helper()
	c, err := fleet.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c.Dir, c.Servers, c.Nodes, c.Settings, c.Log = t.TempDir(), servers, nodes, "auth: {code_resend: 0s}\n", &log
	f, err := fleet.Start(t.Context(), c)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		for _, secret := range []string{annNumber, bobNumber, "ice-ufrag", secretWord} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log holds %q", secret)
			}
		}
	})
	return f
}

// catalog is the table of section 10: for each type that a server sends,
// whether it is reliable.
func catalog(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile("../../../../signaling/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "<!-- catalog:begin -->")
	types := map[string]bool{}
	for line := range strings.Lines(table) {
		if cell := strings.Split(line, "|"); len(cell) > 4 && strings.Contains(cell[2], "server") {
			types[strings.Trim(cell[1], " `")] = strings.Contains(cell[3], "from the server")
		}
	}
	if len(types) < 10 {
		t.Fatalf("the page has %d types of a server", len(types))
	}
	return types
}

// A phone is a plain client and all that it was told.
type phone struct {
	*plain.Client
	plain.Device
	t *testing.T

	mu    sync.Mutex
	heard []plain.Frame
	items []plain.Item
	came  chan struct{} // closed and made anew with each
}

// register makes a device, which knows the URLs.
func register(t *testing.T, n *fleet.Node, number string, keep func(plain.Item), urls ...string) *phone {
	t.Helper()
	p := &phone{t: t, came: make(chan struct{})}
	code := func() (string, error) { return n.Code(number) }
	var err error
	if p.Device, err = plain.Register(t.Context(), n.URL, number, code); err != nil {
		t.Fatal(err)
	}
	types := catalog(t)
	seen := func(f plain.Frame) {
		if reliable, ok := types[f.T]; !ok || reliable != (f.S > 0) {
			t.Errorf("the page does not describe %s with s %d", f.T, f.S)
		}
	}
	p.Client = plain.New(p.Token, urls, seen, func(f plain.Frame) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.heard = append(p.heard, f)
		close(p.came)
		p.came = make(chan struct{})
	}, func(it plain.Item) {
		if keep != nil {
			keep(it)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.items = append(p.items, it)
		close(p.came)
		p.came = make(chan struct{})
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	t.Cleanup(func() { stop(); p.Cut(); <-done })
	p.hear("welcome", "resumed", "none")
	return p
}

// until waits for a condition that is looked at whenever something has come.
func (p *phone) until(what string, ok func() bool) {
	p.t.Helper()
	late := time.After(patience)
	for {
		p.mu.Lock()
		yes, came := ok(), p.came
		p.mu.Unlock()
		if yes {
			return
		}
		select {
		case <-came:
		case <-late:
			p.t.Fatalf("did not get %s", what)
		}
	}
}

// hear waits for a frame with these fields and takes it, and those before stay.
func (p *phone) hear(typ string, fields ...string) (d map[string]any) {
	p.t.Helper()
	p.until(fmt.Sprint(typ, fields), func() bool {
		for i, f := range p.heard {
			d = nil
			if json.Unmarshal(f.D, &d); f.T != typ {
				continue
			}
			fits := true
			for j := 0; j < len(fields); j += 2 {
				fits = fits && fmt.Sprint(d[fields[j]]) == fields[j+1]
			}
			if fits {
				p.heard = append(p.heard[:i:i], p.heard[i+1:]...)
				return true
			}
		}
		return false
	})
	return d
}

type d = map[string]any

// do sends an intent that must be granted.
func (p *phone) do(typ string, in d) d {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.t.Context(), patience)
	defer stop()
	var out d
	if err := p.Do(ctx, typ, in, &out); err != nil {
		p.t.Fatalf("%s: %v", typ, err)
	}
	return out
}

func sdp(ufrag string) string {
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:" + ufrag +
		"\r\na=ice-pwd:0123456789abcdef01234567\r\na=fingerprint:sha-256 " + strings.TrimSuffix(strings.Repeat("AB:", 32), ":") + "\r\na=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\n"
}

// connect brings a call from invite to active.
func connect(call string, from, to *phone) {
	from.t.Helper()
	from.do("call.invite", d{"call": call, "to": to.Number, "media": []string{"audio"}, "sdp": sdp("caller")})
	to.hear("call.incoming", "call", call)
	to.do("call.ringing", d{"call": call})
	from.hear("call.ringing", "call", call)
	to.do("call.answer", d{"call": call, "sdp": sdp("callee")})
	from.hear("call.answered", "call", call)
	for _, p := range []*phone{from, to} {
		p.do("call.report", d{"call": call, "media": "connected"})
	}
	from.hear("call.state", "call", call, "state", "active")
	to.hear("call.state", "call", call, "state", "active")
}
