package races

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/cmd/switchboard/internal/fleet"
)

var races = flag.Int("races", 150, "how many races of each kind")

// atOnce is how many races go on at a time, each with phones of its own.
const atOnce = 8

const settings = `auth: {code_resend: 0s, codes_per_hour: 1000, address_per_hour: 1000000, address_burst: 100000}
signaling: {limits: {frames_per_second: 10000, frames_burst: 10000, invites_per_minute: 1000000, invites_burst: 100000, strangers_per_hour: 500}}
`

// prefix is what all numbers begin with.
const prefix = "+14155551"

// tally counts what comes of races.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	done   int
	failed []error
}

// meeting counts races in which requests were under way at the same time.
const meeting = "of them with requests under way at the same time"

func (t *tally) count(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what]++
}

func (t *tally) met(yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if yes {
		t.counts[meeting]++
	}
}

func (t *tally) finish(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	if err != nil {
		t.failed = append(t.failed, err)
	}
}

func (t *tally) print(name string, took time.Duration) {
	fmt.Printf("%s: %d races in %v, %d failed\n", name, t.done, took.Round(100*time.Millisecond), len(t.failed))
	for _, what := range slices.Sorted(maps.Keys(t.counts)) {
		fmt.Printf("  %7d %s\n", t.counts[what], what)
	}
}

// TestRaces runs races of every kind over two nodes.
func TestRaces(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()

	glares := h.pairs(2)
	total := h.run(t, "glare", *races, func(i int, t *tally) error {
		return glare(ctx, t, glares[i][0], glares[i][1], false)
	})
	if total.counts["connected"] != *races || total.counts["ended on both sides"] != *races {
		t.Errorf("not every glare connected one call: %v", total.counts)
	}
	if total.counts[meeting] < *races/4 {
		t.Errorf("invites were under way at the same time in %d of %d races: that is no race", total.counts[meeting], *races)
	}
	h.run(t, "glare whose connections are cut", max(*races/20, 40), func(i int, t *tally) error {
		return glare(ctx, t, glares[i][0], glares[i][1], true)
	})
	few := max(*races/20, 40)
	total = h.run(t, "glare that both give up", few, func(i int, t *tally) error {
		return cancelled(ctx, t, glares[i][0], glares[i][1])
	})
	if total.counts["nothing left"] != few {
		t.Errorf("something was left: %v", total.counts)
	}

	forks := h.pairs(4)
	total = h.run(t, "answer on three devices", *races, func(i int, t *tally) error {
		return answered(ctx, t, forks[i][0], forks[i][1:])
	})
	if total.counts["heard that it was answered elsewhere"] != 2**races || total.counts["ended on both sides"] != *races {
		t.Errorf("not every race had one winner: %v", total.counts)
	}
}

// house is two nodes on a NATS server, and phones.
type house struct {
	t       *testing.T
	fleet   *fleet.Fleet
	log     *bytes.Buffer
	numbers int
}

func newHouse(t *testing.T) *house {
	t.Helper()
	c, err := fleet.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, log: &bytes.Buffer{}}
	c.Dir, c.Servers, c.Nodes, c.Settings, c.Log = t.TempDir(), 1, 2, settings, h.log
	if h.fleet, err = fleet.Start(t.Context(), c); err != nil {
		t.Fatalf("%v\n%s", err, h.log)
	}
	t.Cleanup(func() {
		if err := h.fleet.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(h.log.String(), prefix) || strings.Contains(h.log.String(), "ice-ufrag") {
			t.Error("a number or a description is in the log")
		}
		if t.Failed() {
			text := h.log.String()
			t.Logf("the end of the log:\n%s", text[max(0, len(text)-8000):])
		}
	})
	return h
}

// pairs registers phones for as many races as go on at once: two numbers each, of
// which the second has size-1 devices, on both nodes in turn.
func (h *house) pairs(size int) [][]*phone {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Minute)
	defer cancel()
	var all [][]*phone
	for range atOnce {
		var pair []*phone
		callee := h.number()
		for i := range size {
			number := callee
			if i == 0 {
				number = h.number()
			}
			p, err := register(ctx, h.fleet.Nodes[i%len(h.fleet.Nodes)], number)
			if err != nil {
				h.t.Fatal(err)
			}
			h.t.Cleanup(p.close)
			pair = append(pair, p)
		}
		all = append(all, pair)
	}
	return all
}

func (h *house) number() string {
	h.numbers++
	return fmt.Sprintf("%s%03d", prefix, h.numbers)
}

// run runs n races, some at a time, and prints what came of them.
func (h *house) run(t *testing.T, name string, n int, race func(lane int, t *tally) error) *tally {
	t.Helper()
	total := &tally{counts: map[string]int{}}
	var next atomic.Int64
	var lanes sync.WaitGroup
	begun := time.Now()
	for lane := range atOnce {
		lanes.Go(func() {
			for next.Add(1) <= int64(n) {
				err := race(lane, total)
				total.finish(err)
				if err != nil {
					return // the lane's phones may be anywhere
				}
			}
		})
	}
	stop := make(chan struct{})
	var progress sync.WaitGroup
	progress.Go(func() { total.progress(name, n, stop) })
	lanes.Wait()
	close(stop)
	progress.Wait()
	total.print(name, time.Since(begun))
	for _, err := range total.failed[:min(10, len(total.failed))] {
		t.Errorf("%s: %v", name, err)
	}
	if total.done < n && len(total.failed) == 0 {
		t.Errorf("%s: %d of %d races were run", name, total.done, n)
	}
	return total
}

// progress prints how far it is, every ten seconds, until stop is closed.
func (t *tally) progress(name string, n int, stop <-chan struct{}) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		t.mu.Lock()
		fmt.Printf("%s: %d of %d\n", name, t.done, n)
		t.mu.Unlock()
	}
}
