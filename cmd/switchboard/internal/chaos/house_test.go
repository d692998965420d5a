package chaos

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/cmd/internal/ledger"
	"switchboard/cmd/switchboard/internal/fleet"
)

// house is one node on a disk of the test's, and two phones: one texts the other,
// which can be kept from reading, so that texts wait.
type house struct {
	t        *testing.T
	fleet    *fleet.Fleet
	log      bytes.Buffer
	quiet    *network // of the one that is texted
	ledger   *notes
	from, to *phone
}

// startHouse starts one whose files are in dir. With servers it has a NATS server
// beside it, and else inside.
func startHouse(t *testing.T, c fleet.Config) *house {
	t.Helper()
	h := &house{t: t, quiet: newNetwork(), ledger: &notes{texts: ledger.New(), rung: map[string]string{}}}
	bin := programs(t)
	c.NATS, c.Switchboard, c.Nodes, c.Log = filepath.Join(bin, "nats-server"), filepath.Join(bin, "switchboard"), 1, &h.log
	c.Settings = "signaling: {heartbeat: 2s, limits: {messages_per_second: 10000, messages_burst: 10000, pair_messages_per_second: 10000, pair_messages_burst: 10000}}\n"
	var err error
	if h.fleet, err = fleet.Start(t.Context(), c); err != nil {
		t.Fatalf("%v\n%s", err, tail(h.log.String()))
	}
	t.Cleanup(func() {
		for _, p := range []*phone{h.from, h.to} {
			if p != nil {
				p.close()
			}
		}
		if err := h.fleet.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(h.log.String(), secretWord) || strings.Contains(h.log.String(), "+1415555017") {
			t.Error("a text or a number is in the log")
		}
		if t.Failed() {
			t.Logf("the end of the log:\n%s", tail(h.log.String()))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if h.from, err = register(ctx, h.fleet, newNetwork(), h.ledger, "+14155550171", false); err != nil {
		t.Fatal(err)
	}
	if h.to, err = register(ctx, h.fleet, h.quiet, h.ledger, "+14155550172", false); err != nil {
		t.Fatal(err)
	}
	return h
}

// built is where the programs are that all tests here run.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// programs builds the server and NATS's, once.
func programs(t *testing.T) (dir string) {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "chaos"); built.err != nil {
			return
		}
		_, built.err = fleet.Build(context.Background(), built.dir)
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

// senders is how many texts are under way at once.
const senders = 8

// text has the one text the other until stop is called, which returns when every
// text that was begun is taken. taken counts those.
func (h *house) text() (taken *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	taken = new(atomic.Int64)
	for range senders {
		tasks.Go(func() {
			for ctx.Err() == nil {
				h.from.send(context.WithoutCancel(ctx), h.to.number)
				taken.Add(1)
			}
		})
	}
	return taken, func() {
		cancel()
		tasks.Wait()
	}
}

// await waits until n more texts are taken.
func (h *house) await(taken *atomic.Int64, n int64) {
	h.t.Helper()
	from, deadline := taken.Load(), time.Now().Add(time.Minute)
	for taken.Load() < from+n {
		if time.Now().After(deadline) {
			h.t.Fatalf("%d texts were taken in a minute, want %d", taken.Load()-from, n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// owed waits until nothing is owed, or for as long as it may take, and returns
// the verdict.
func (h *house) owed(within time.Duration) *ledger.Report {
	for deadline := time.Now().Add(within); h.ledger.texts.Owed() > 0 && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	return h.ledger.texts.Check()
}

// sound fails the test if a promise was broken.
func (h *house) sound() {
	h.t.Helper()
	r := h.owed(30 * time.Second)
	for _, b := range r.Breaches[:min(10, len(r.Breaches))] {
		h.t.Error(&b)
	}
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	for _, f := range h.ledger.faults {
		h.t.Error(f)
	}
	h.t.Logf("checked: %v", r)
}
