// Package link says what a link does to packets: when each arrives, or that it is lost.
// [Line] is one direction of one link, and pure: the time and the randomness are handed
// in. Its owner does the waiting.
package link

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// DefaultQueue is how long a packet waits for a line with a rate, at most, if Config says
// nothing else.
const DefaultQueue = 200 * time.Millisecond

// memory is how far apart packets are that share a run of losses. Else the few packets of a
// sender that backs off would draw one out for minutes.
const memory = 200 * time.Millisecond

// Config is what happens to packets on the way. The zero value delivers at once.
type Config struct {
	// Delay is added to each packet, and up to Jitter more, evenly spread. Packets keep
	// their order all the same; Reorder, 0 to 1, is the share that passes those before it:
	// these have neither delay nor jitter.
	Delay   time.Duration `yaml:"delay"`
	Jitter  time.Duration `yaml:"jitter"`
	Reorder float64       `yaml:"reorder"`
	// Loss is the share of packets that are lost, 0 to 1, each by its own lot. With
	// Burst above 1, losses come in runs of that mean length (Gilbert's model) and the share
	// stays the same. Runs end with the trouble behind them: what comes a fifth of a second
	// after another packet is lost or not by its own lot.
	Loss  float64 `yaml:"loss"`
	Burst float64 `yaml:"burst"`
	// Rate is in bits per second, 0 for no bound; what waits longer than Queue (0 is 200
	// ms) is dropped.
	Rate  int64         `yaml:"rate"`
	Queue time.Duration `yaml:"queue"`
}

// Validate names everything that is wrong, one error each, joined.
func (c Config) Validate() error {
	var errs []error
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.Delay < 0, "delay: %v is negative", c.Delay)
	bad(c.Jitter < 0, "jitter: %v is negative", c.Jitter)
	bad(!share(c.Reorder), "reorder: %v is not a share from 0 to 1", c.Reorder)
	bad(c.Reorder > 0 && c.Delay <= 0, "reorder: without a delay there is nothing to pass")
	bad(!share(c.Loss), "loss: %v is not a share from 0 to 1", c.Loss)
	bad(c.Burst < 0 || math.IsNaN(c.Burst) || math.IsInf(c.Burst, 0), "burst: %v is not a length", c.Burst)
	bad(c.Burst > 1 && c.Loss < 1 && c.Loss/(1-c.Loss) > c.Burst, "burst: runs of %v cannot make up a loss of %v", c.Burst, c.Loss)
	bad(c.Rate < 0, "rate: %v is negative", c.Rate)
	bad(c.Queue < 0, "queue: %v is negative", c.Queue)
	return errors.Join(errs...)
}

func share(x float64) bool { return x >= 0 && x <= 1 }

// Verdict is what became of a packet.
type Verdict uint8

// The verdicts.
const (
	Delivered Verdict = iota
	Lost              // by lot
	QueueFull         // it would have waited too long for the rate
)

// String is a word or two, from a closed set.
func (v Verdict) String() string {
	switch v {
	case Delivered:
		return "delivered"
	case Lost:
		return "lost"
	case QueueFull:
		return "queue full"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Line is one direction of a link, with what is under way on it. One goroutine at a time
// may use it.
type Line struct {
	c   Config
	rnd *rand.Rand

	bad  bool      // in a run of losses
	sent time.Time // when the last packet was, lost or not
	free time.Time // when the rate lets the next packet begin
	last time.Time // when the last packet that kept its place arrives
}

// New returns a line with nothing on it. c must be valid. The line keeps rnd.
func New(c Config, rnd *rand.Rand) *Line {
	if c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	return &Line{c: c, rnd: rnd}
}

// Pass is for a packet of size bytes, headers included, that is handed to the line at now,
// which must not run backwards. It arrives at the time returned, unless the verdict is
// another than Delivered. Packets that arrive at the same time do so in their order.
func (l *Line) Pass(now time.Time, size int) (time.Time, Verdict) {
	if l.lost(now) {
		return time.Time{}, Lost
	}
	at, ok := l.send(now, size)
	if !ok {
		return time.Time{}, QueueFull
	}
	if l.c.Reorder > 0 && l.rnd.Float64() < l.c.Reorder {
		return at, Delivered
	}
	at = at.Add(l.c.Delay)
	if l.c.Jitter > 0 {
		at = at.Add(time.Duration(l.rnd.Int64N(int64(l.c.Jitter) + 1)))
	}
	if at.Before(l.last) {
		at = l.last
	}
	l.last = at
	return at, Delivered
}

// lost draws the lot. Gilbert's model has two states, and loses all packets in the bad
// one: it is left with the chance 1/Burst, and entered with that which makes its share Loss.
func (l *Line) lost(now time.Time) bool {
	apart := now.Sub(l.sent)
	l.sent = now
	switch {
	case l.c.Loss == 0:
		return false
	case l.c.Loss == 1:
		return true
	case l.c.Burst <= 1:
		return l.rnd.Float64() < l.c.Loss
	case apart >= memory:
		l.bad = l.rnd.Float64() < l.c.Loss
		return l.bad
	}
	leave := 1 / l.c.Burst
	enter := leave * l.c.Loss / (1 - l.c.Loss)
	if l.bad {
		l.bad = l.rnd.Float64() >= leave
	} else {
		l.bad = l.rnd.Float64() < enter
	}
	return l.bad
}

// send is when the packet has left, at the line's rate; false if the queue is too long.
func (l *Line) send(now time.Time, size int) (time.Time, bool) {
	if l.c.Rate == 0 {
		return now, true
	}
	begin := now
	if l.free.After(begin) {
		begin = l.free
	}
	if begin.Sub(now) > l.c.Queue {
		return time.Time{}, false
	}
	l.free = begin.Add(time.Duration(float64(size) * 8 / float64(l.c.Rate) * float64(time.Second)))
	return l.free, true
}
