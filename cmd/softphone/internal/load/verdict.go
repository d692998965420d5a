package load

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"switchboard/cmd/internal/ledger"
)

// counts is what happens.
type counts struct {
	sent, stored, shown, drops, disconnects, others atomic.Int64

	// Guarded by mu.
	mu     sync.Mutex
	errors map[string]int
	drains []time.Duration
}

func (c *counts) fail(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.errors == nil {
		c.errors = map[string]int{}
	}
	c.errors[name]++
}

func (c *counts) drain(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drains = append(c.drains, d)
}

func (c *counts) failures() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.errors)
}

// Times are quantiles of how long something took.
type Times struct {
	N                   int
	P50, P99, P999, Max time.Duration
}

func timesOf(d []time.Duration) Times {
	if len(d) == 0 {
		return Times{}
	}
	slices.Sort(d)
	at := func(q float64) time.Duration { return d[min(int(q*float64(len(d))), len(d)-1)] }
	return Times{len(d), at(0.5), at(0.99), at(0.999), d[len(d)-1]}
}

// Progress is how it goes.
type Progress struct {
	Sent, Stored, Shown, Disconnects int64
	// Owed is what was acknowledged and is not shown yet, on the devices that
	// are away or do not read, too.
	Owed int
	// ToStored and ToShown are of what was sent since the last time.
	ToStored, ToShown Times
	Errors            map[string]int
}

func (l *load) progress(since time.Time) Progress {
	p := Progress{
		Sent: l.counts.sent.Load(), Stored: l.counts.stored.Load(), Shown: l.counts.shown.Load(), Disconnects: l.counts.disconnects.Load(),
		Owed: l.ledger.Owed(), Errors: l.counts.failures(),
	}
	p.ToStored, p.ToShown = l.times(since)
	return p
}

// times are those of texts that were begun since a moment: until they were
// stored, and until a device showed them that was neither away nor stalled.
func (l *load) times(since time.Time) (stored, shown Times) {
	slow := map[ledger.Device]bool{}
	for _, d := range l.devices {
		if d.away || d.stalled {
			slow[d.ledger] = true
		}
	}
	var s, r []time.Duration
	for _, p := range l.ledger.Passages(since) {
		if !p.Stored.IsZero() {
			s = append(s, p.Stored.Sub(p.Begun))
		}
		for _, at := range p.Shown {
			if !slow[at.Device] {
				r = append(r, at.At.Sub(p.Begun))
			}
		}
	}
	return timesOf(s), timesOf(r)
}

// Verdict is what a load has shown.
type Verdict struct {
	// Texts is what the ledger proves.
	Texts *ledger.Report
	// Rate is how many texts were acknowledged in a second, while they were sent.
	Rate float64
	// ToStored and ToShown are from when the sending of a text began, reconnects
	// included; the latter on each device that was neither away nor stalled.
	ToStored, ToShown Times
	// Drained is how long the devices that were away took from the dial to the
	// end of their backlog.
	Drained Times
	// Repeats came from the server again; the SDK drops them.
	Repeats uint64
	// Cut is how many connections were cut, Disconnects how many were lost.
	Cut, Disconnects int64
	// Others are texts of other runs, or of people.
	Others int64
	// Errors are those that senders and sessions got, by their code.
	Errors map[string]int
}

// Kept reports whether the server did what it promises.
func (v *Verdict) Kept() bool { return v.Texts.OK() }

func (l *load) verdict(began, sending time.Time, took time.Duration) *Verdict {
	v := &Verdict{
		Texts: l.ledger.Check(), Cut: l.counts.drops.Load(), Disconnects: l.counts.disconnects.Load(), Others: l.counts.others.Load(),
		Errors: l.counts.failures(), Drained: timesOf(l.counts.drains),
	}
	v.ToStored, v.ToShown = l.times(sending)
	stored := 0
	for _, p := range l.ledger.Passages(sending) {
		if !p.Stored.IsZero() {
			stored++
		}
	}
	v.Rate = float64(stored) / took.Seconds()
	for _, d := range l.devices {
		if d.client != nil {
			v.Repeats += d.client.Repeats()
		}
	}
	return v
}
