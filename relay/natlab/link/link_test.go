package link_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"switchboard/relay/natlab/link"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// arrival is a packet's, with when it was sent.
type arrival struct {
	sent, at time.Duration // after start
	verdict  link.Verdict
}

// send has a line carry n packets of size bytes, one each interval.
func send(c link.Config, n, size int, interval time.Duration) []arrival {
	l := link.New(c, rand.New(rand.NewPCG(7, 7)))
	got := make([]arrival, n)
	for i := range got {
		sent := time.Duration(i) * interval
		at, v := l.Pass(start.Add(sent), size)
		got[i] = arrival{sent, at.Sub(start), v}
	}
	return got
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within {
		t.Errorf("%s: %.4f, want %.4f within %.4f", what, got, want, within)
	}
}

func TestNothing(t *testing.T) {
	for _, a := range send(link.Config{}, 10, 1500, 0) {
		if a.at != a.sent || a.verdict != link.Delivered {
			t.Errorf("sent at %v: %v at %v", a.sent, a.verdict, a.at)
		}
	}
}

func TestLoss(t *testing.T) {
	const n = 200_000
	for _, tt := range []struct {
		name string
		c    link.Config
		run  float64 // the mean length of a run of losses
	}{
		{"by lot", link.Config{Loss: 0.05}, 1 / 0.95},
		{"half by lot", link.Config{Loss: 0.5}, 2},
		{"runs", link.Config{Loss: 0.05, Burst: 8}, 8},
		{"short runs", link.Config{Loss: 0.3, Burst: 2}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lost, runs := 0, 0
			before := link.Delivered
			for _, a := range send(tt.c, n, 100, time.Millisecond) {
				if a.verdict == link.Lost {
					lost++
					if before == link.Delivered {
						runs++
					}
				}
				before = a.verdict
			}
			near(t, "share lost", float64(lost)/n, tt.c.Loss, 0.06*tt.c.Loss)
			near(t, "length of a run", float64(lost)/float64(runs), tt.run, 0.05*tt.run)
		})
	}
	t.Run("runs end", func(t *testing.T) {
		lost, second := 0, 0
		before := link.Delivered
		for _, a := range send(link.Config{Loss: 0.1, Burst: 20}, n, 100, time.Second) {
			if a.verdict == link.Lost {
				lost++
				if before == link.Lost {
					second++
				}
			}
			before = a.verdict
		}
		near(t, "share lost", float64(lost)/n, 0.1, 0.005)
		near(t, "share lost after a loss", float64(second)/float64(lost), 0.1, 0.01)
	})
	t.Run("all", func(t *testing.T) {
		for _, a := range send(link.Config{Loss: 1, Burst: 3}, 100, 100, 0) {
			if a.verdict != link.Lost {
				t.Fatal("a packet got through")
			}
		}
	})
}

func TestDelay(t *testing.T) {
	const n = 10_000
	c := link.Config{Delay: 50 * time.Millisecond, Jitter: 40 * time.Millisecond}
	var sum, last, most time.Duration
	for _, a := range send(c, n, 100, 100*time.Millisecond) {
		took := a.at - a.sent
		if took < c.Delay || took > c.Delay+c.Jitter {
			t.Fatalf("%v on the way", took)
		}
		sum += took
		most = max(most, took)
	}
	near(t, "mean delay in ms", float64(sum.Milliseconds())/n, 70, 1)
	near(t, "most in ms", float64(most.Milliseconds()), 90, 1)
	for _, a := range send(c, n, 100, time.Millisecond) {
		if a.at < last {
			t.Fatalf("a packet arrived at %v, after one at %v", a.at, last)
		}
		last = a.at
	}
}

func TestReorder(t *testing.T) {
	const n = 20_000
	passed := 0
	var last time.Duration
	for _, a := range send(link.Config{Delay: 30 * time.Millisecond, Reorder: 0.1}, n, 100, 10*time.Millisecond) {
		if a.at < last {
			passed++
		}
		last = max(last, a.at)
	}
	near(t, "share that passed others", float64(passed)/n, 0.1, 0.01)
}

func TestRate(t *testing.T) {
	t.Run("one by one", func(t *testing.T) {
		// 1250 bytes are 10 ms at 1 Mbit/s.
		for i, a := range send(link.Config{Rate: 1_000_000}, 20, 1250, 0) {
			if want := time.Duration(i+1) * 10 * time.Millisecond; a.at != want || a.verdict != link.Delivered {
				t.Errorf("packet %d: %v at %v, want at %v", i, a.verdict, a.at, want)
			}
		}
	})
	t.Run("queue", func(t *testing.T) {
		// What waits up to 50 ms: six packets.
		got := send(link.Config{Rate: 1_000_000, Queue: 50 * time.Millisecond}, 10, 1250, 0)
		for i, a := range got {
			if full := a.verdict == link.QueueFull; full != (i > 5) {
				t.Errorf("packet %d: %v", i, a.verdict)
			}
		}
	})
	t.Run("goodput", func(t *testing.T) {
		bits, last := 0, time.Duration(0)
		for _, a := range send(link.Config{Rate: 500_000}, 10_000, 1000, time.Millisecond) { // 8 Mbit/s are offered
			if a.verdict == link.Delivered {
				bits += 8000
				last = a.at
			}
		}
		near(t, "rate", float64(bits)/last.Seconds(), 500_000, 5000)
	})
}

func TestValidate(t *testing.T) {
	bad := link.Config{Delay: -1, Jitter: -1, Reorder: 2, Loss: -0.1, Burst: -1, Rate: -1, Queue: -1}
	err := bad.Validate()
	for _, word := range []string{"delay", "jitter", "reorder", "loss", "burst", "rate", "queue"} {
		if err == nil || !strings.Contains(err.Error(), word+":") {
			t.Errorf("nothing about %s in: %v", word, err)
		}
	}
	for _, c := range []link.Config{{Loss: 0.9, Burst: 2}, {Reorder: 0.1}, {Loss: math.NaN()}} {
		if c.Validate() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	for _, c := range []link.Config{{}, {Loss: 0.5, Burst: 3}, {Delay: 1, Reorder: 1}, {Loss: 1, Burst: 5}} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
