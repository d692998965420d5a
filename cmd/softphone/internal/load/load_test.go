package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"switchboard/cmd/internal/ledger"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// post is a server that keeps texts for devices whose tokens are their numbers
// and names, and lies in the ways that lie says.
type post struct {
	// lie changes what is put into a device's mailbox, the n-th text of all.
	lie func(n int, to string, items []protocol.MailboxItem) []protocol.MailboxItem

	mu    sync.Mutex
	texts int
	boxes map[string]*box // by token
}

// box is a mailbox and whoever is connected to it. The post's mu guards it.
type box struct {
	seq   uint64
	items []protocol.MailboxItem
	conn  *websocket.Conn
}

func (p *post) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{protocol.Subprotocol}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	var b *box
	var number e164.Number
	for {
		_, raw, err := ws.ReadMessage()
		if err != nil {
			return
		}
		f, err := protocol.DecodeFrame(raw)
		if err != nil {
			return
		}
		body, err := protocol.Decode(f, protocol.Client)
		if err != nil {
			return
		}
		p.mu.Lock()
		switch m := body.(type) {
		case *protocol.Hello:
			text, _, _ := strings.Cut(m.Token, "/")
			if number, err = e164.Parse(text, ""); err != nil {
				p.mu.Unlock()
				return
			}
			if b = p.boxes[m.Token]; b == nil {
				b = &box{}
				p.boxes[m.Token] = b
			}
			b.conn = ws
			tell(ws, &protocol.Welcome{Session: "s", Key: "k", Resumed: protocol.ResumedNone, Number: number, HeartbeatMS: 60000})
			for _, it := range b.items {
				tell(ws, &it)
			}
			tell(ws, &protocol.MailboxDrained{Seq: b.seq})
		case *protocol.MessageSend:
			p.store(b, number, m)
			if reply, err := protocol.EncodeReply(f.ID, &protocol.MessageStored{ID: m.ID, Time: 1}); err == nil {
				_ = ws.WriteMessage(websocket.TextMessage, reply)
			}
		case *protocol.MailboxAck:
			for len(b.items) > 0 && b.items[0].Seq <= m.Seq {
				b.items = b.items[1:]
			}
		}
		p.mu.Unlock()
	}
}

func tell(ws *websocket.Conn, m protocol.Body) {
	if raw, err := protocol.Encode(protocol.Frame{}, m); err == nil {
		_ = ws.WriteMessage(websocket.TextMessage, raw) // who is gone has it in the mailbox
	}
}

// store puts a text into the mailboxes of its receiver and of the sender's
// other devices.
func (p *post) store(from *box, number e164.Number, m *protocol.MessageSend) {
	p.texts++
	to, err := e164.Parse(m.To, "")
	if err != nil {
		return
	}
	for token, b := range p.boxes {
		if b == from || !strings.HasPrefix(token, m.To+"/") && !strings.HasPrefix(token, number.E164()+"/") {
			continue
		}
		b.seq++
		items := []protocol.MailboxItem{{Seq: b.seq, Kind: protocol.KindMessage, ID: m.ID, From: number, To: to, Time: 1, ContentType: "text/plain", Body: m.Body}}
		if p.lie != nil {
			items = p.lie(p.texts, token, items)
		}
		b.items = append(b.items, items...)
		for _, it := range items {
			b.seq = max(b.seq, it.Seq)
			if b.conn != nil {
				tell(b.conn, &it)
			}
		}
	}
}

// through runs a load through a server that lies or not.
func through(t *testing.T, p *post, change func(*Config)) *Verdict {
	t.Helper()
	p.boxes = map[string]*box{}
	s := httptest.NewServer(p)
	defer s.Close()
	c := Default()
	c.Servers, c.Tokens, c.Accounts, c.Devices = []string{s.URL}, filepath.Join(t.TempDir(), "tokens"), 4, 2
	c.Rate, c.Duration, c.Settle, c.Every = 200, 500*time.Millisecond, 5*time.Second, 100*time.Millisecond
	c.Note, c.Progress = func(string) {}, func(Progress) {}
	if change != nil {
		change(&c)
	}
	var tokens strings.Builder
	for i := range c.Accounts {
		for j := range c.Devices {
			fmt.Fprintf(&tokens, "+1202555%04d %d +1202555%04d/%d\n", 100+i, j, 100+i, j)
		}
	}
	if err := os.WriteFile(c.Tokens, []byte(tokens.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(tokens.String()) { // the mailbox is there before the device
		p.boxes[strings.Fields(line)[2]] = &box{}
	}
	v, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestHonestServer has all that can be asked for at once.
func TestHonestServer(t *testing.T) {
	var ticks int
	v := through(t, &post{}, func(c *Config) {
		c.Backlog, c.Stalled, c.Reconnect = 10, 2, 1
		c.Progress = func(Progress) { ticks++ }
	})
	if !v.Kept() || v.Texts.Sent != 120 || v.Texts.Stored != 120 || v.Texts.Shown != 3*120 || len(v.Errors) != 0 {
		t.Errorf("%v; errors %v", v.Texts, v.Errors)
	}
	if v.Cut == 0 || v.Disconnects == 0 || v.Drained.N != 2 || v.ToStored.P50 == 0 || v.ToShown.Max < v.ToShown.P50 || ticks == 0 {
		t.Errorf("verdict %+v after %d ticks", v, ticks)
	}
}

// TestLyingServers finds each lie.
func TestLyingServers(t *testing.T) {
	t.Parallel()
	every := func(n int, lie func(*protocol.MailboxItem)) func(int, string, []protocol.MailboxItem) []protocol.MailboxItem {
		return func(i int, _ string, items []protocol.MailboxItem) []protocol.MailboxItem {
			if i%n == 0 {
				lie(&items[0])
			}
			return items
		}
	}
	for _, test := range []struct {
		name string
		lie  func(n int, to string, items []protocol.MailboxItem) []protocol.MailboxItem
		want ledger.Rule
	}{
		{"loses one text on one device", func(n int, to string, items []protocol.MailboxItem) []protocol.MailboxItem {
			if n == 50 && strings.HasSuffix(to, "/1") {
				return nil
			}
			return items
		}, ledger.Lost},
		{"changes a body", every(50, func(it *protocol.MailboxItem) { it.Body += "!" }), ledger.Altered},
		{"changes a type", every(50, func(it *protocol.MailboxItem) { it.ContentType = "text/html" }), ledger.Altered},
		{"makes a text up", func(n int, _ string, items []protocol.MailboxItem) []protocol.MailboxItem {
			if n == 50 {
				more := items[0]
				more.Seq++
				more.ID += "0"
				items = append(items, more)
			}
			return items
		}, ledger.Invented},
		{"puts two at one place", every(50, func(it *protocol.MailboxItem) { it.Seq = 1 }), ledger.Misordered},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := through(t, &post{lie: test.lie}, func(c *Config) { c.Settle = time.Second })
			if v.Kept() || v.Texts.Broken[test.want] == 0 {
				t.Errorf("%v, want something %v", v.Texts, test.want)
			}
		})
	}
}

// TestInterrupted ends a load early, with a verdict.
func TestInterrupted(t *testing.T) {
	p := &post{boxes: map[string]*box{"+12025550100/0": {}, "+12025550101/0": {}}}
	s := httptest.NewServer(p)
	defer s.Close()
	c := Default()
	c.Servers, c.Tokens, c.Accounts, c.Duration, c.Every = []string{s.URL}, filepath.Join(t.TempDir(), "tokens"), 2, time.Hour, 10*time.Millisecond
	if err := os.WriteFile(c.Tokens, []byte("+12025550100 0 +12025550100/0\n\n+12025550101 0 +12025550101/0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	c.Note, c.Progress = func(string) {}, func(p Progress) {
		if p.Stored > 0 {
			stop()
		}
	}
	v, err := Run(ctx, c)
	if err != nil || !v.Kept() || v.Texts.Stored == 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestBadConfig(t *testing.T) {
	c := Default()
	c.Rate, c.Accounts = 0, 1
	err := c.Validate()
	for _, want := range []string{"server", "tokens", "accounts", "rate"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say what is wrong with %s", err, want)
		}
	}
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("+12025550100 token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readTokens(file); err == nil || !strings.Contains(err.Error(), ":1:") {
		t.Errorf("a bad line: %v", err)
	}
}
