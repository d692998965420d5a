package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// row is one line of the table.
type row struct {
	direction   direction
	size        int // of the payload, in bytes
	allocations int
}

func (r row) String() string { return fmt.Sprintf("%s/%d/%d", r.direction, r.size, r.allocations) }

// rows are all of them: a packet of Opus and one of video, each way, for one call, for
// some and for many.
func rows() (all []row) {
	for _, d := range []direction{up, down} {
		for _, size := range []int{172, 1200} {
			for _, n := range []int{1, 64, 1000} {
				all = append(all, row{d, size, n})
			}
		}
	}
	return all
}

// result is what was measured of one server in one row: one value a round.
type result struct {
	cost, user, system, kernel []float64 // nanoseconds a packet: all, and its parts
	peak                       []float64 // packets a second
	limited                    bool      // the generator came to its end before the server
	others                     []float64 // share of the relay's core that others had
}

// measure measures all rows that are wanted, and prints each. One that cannot be measured
// does not keep the others from it.
func (b *bench) measure(ctx context.Context, o *options, servers []*server) error {
	wanted := slices.DeleteFunc(rows(), func(r row) bool { return !o.rows.MatchString(r.String()) })
	if len(wanted) == 0 {
		return nil
	}
	for _, s := range servers {
		if err := s.start(ctx, b.cable); err != nil {
			return err
		}
		defer s.stop()
	}
	header(o, servers)
	var failed []error
	for _, r := range wanted {
		results, err := b.row(ctx, o, r, servers)
		if err != nil {
			failed = append(failed, fmt.Errorf("%v: %w", r, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		line(o, r, results)
	}
	return errors.Join(failed...)
}

// row measures one row: the servers in turn, round after round.
func (b *bench) row(ctx context.Context, o *options, r row, servers []*server) ([]result, error) {
	results := make([]result, len(servers))
	flows, loads := make([][]*flow, len(servers)), make([]*load, len(servers))
	for i, s := range servers {
		var err error
		if flows[i], err = b.cable.openAll(ctx, s, r.allocations, true); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		defer closeAll(flows[i])
		if err := b.check(flows[i], r.direction, r.size, o.burst); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		loads[i] = newLoad(frames(flows[i], r.direction, r.size), o.burst)
	}
	for range o.rounds {
		for i, s := range servers {
			if err := b.round(ctx, o, r, s, flows[i], loads[i], &results[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	if o.profile != "" && servers[0].ops != "" {
		return results, b.profile(ctx, o, servers[0], flows[0], loads[0])
	}
	return results, nil
}

// round measures one server once. The first packets after a start are not counted.
func (b *bench) round(ctx context.Context, o *options, r row, s *server, flows []*flow, l *load, to *result) error {
	if err := b.turn.take(ctx); err != nil {
		return err
	}
	defer b.turn.give()
	for _, f := range flows { // channels and permissions end if nobody wants them to stay
		if err := f.bind(); err != nil {
			return err
		}
	}
	if err := deaf(flows, true); err != nil {
		return err
	}
	defer deaf(flows, false)
	if len(to.cost) == 0 {
		if _, err := b.probe(ctx, s, l, o.rate, o.probe); err != nil {
			return err
		}
	}
	if err := b.cost(ctx, o, r, s, l, to); err != nil || !o.peak {
		return err
	}
	guess, step := 2*o.rate, 1.25
	if n := len(to.peak); n > 0 {
		guess, step = to.peak[n-1], 1.06
	}
	peak, limited, err := b.peak(ctx, s, l, guess, step, o.probe)
	to.peak, to.limited = append(to.peak, peak), to.limited || limited
	return err
}

// cost measures the cost of a packet. A probe of which much is lost says nothing about
// it, and is repeated: it may be somebody else's fault.
func (b *bench) cost(ctx context.Context, o *options, r row, s *server, l *load, to *result) error {
	for try := 1; ; try++ {
		p, err := b.probe(ctx, s, l, o.rate, o.probe)
		if err != nil {
			return err
		}
		err = p.check(o, r)
		if err == nil {
			to.add(p)
			return nil
		}
		if try == 5 {
			return err
		}
	}
}

// leastKernel is less than the kernel takes to receive a packet anywhere.
const leastKernel = 20 * time.Nanosecond

// check says whether the cost of a packet can be had from a probe.
func (p probe) check(o *options, r row) error {
	if p.delivered == 0 {
		return fmt.Errorf("of %d packets none was delivered", p.sent)
	}
	if p.loss() > 0.05 {
		return fmt.Errorf("at %.0f packets a second %.1f %% are lost, so that their cost says nothing; give a lower -rate", o.rate, 100*p.loss())
	}
	if p.threaded && p.kernel < time.Duration(p.delivered)*leastKernel {
		return errors.New("the kernel's thread that receives for the relay has done nothing: it is done elsewhere, and not counted")
	}
	// Two packets in one would halve the count and nearly double the length.
	if mean := p.bytes / p.delivered; mean > r.size+headers+2*channelHeader {
		return fmt.Errorf("packets of %d bytes are counted where payloads have %d: the kernel counts several as one", mean, r.size)
	}
	return nil
}

// add counts a probe.
func (r *result) add(p probe) {
	n := float64(p.delivered)
	r.cost = append(r.cost, float64(p.relay+p.kernel)/n)
	r.user = append(r.user, float64(p.user)/n)
	r.system = append(r.system, float64(p.relay-p.user)/n)
	r.kernel = append(r.kernel, float64(p.kernel)/n)
	r.others = append(r.others, p.others)
}

const (
	// maxLoss is the share of packets that may be lost at the most packets a second.
	maxLoss = 0.001
	// near is how near the most that got through is to the least that did not.
	near = 1.03
	// slowest is where the search for the most packets a second gives up.
	slowest = 1000
)

// peak looks for the most packets a second of which at most maxLoss is lost, from a
// guess on in steps, each a multiple of the last. It reports whether it was the
// generator that could not send more.
func (b *bench) peak(ctx context.Context, s *server, l *load, guess, step float64, d time.Duration) (most float64, limited bool, err error) {
	good := func(rate float64) bool {
		// What fails may be somebody else's fault, and what was not sent says nothing.
		lost, short := 0, 0
		for lost < 2 && short < 4 {
			var p probe
			if p, err = b.probe(ctx, s, l, rate, d); err != nil {
				return false
			}
			switch {
			case float64(p.sent) < 0.98*rate*d.Seconds():
				short++
			case p.loss() > maxLoss:
				lost++
			default:
				return true
			}
		}
		limited = lost < 2
		return false
	}
	low, high := guess, guess
	if good(guess) {
		for high = guess * step; err == nil && good(high); high *= step {
			low = high
		}
	} else {
		for low = guess / step; err == nil && !good(low); low /= step {
			if high = low; low < slowest {
				return 0, false, fmt.Errorf("even of %d packets a second more than %.1f %% are lost", slowest, 100*maxLoss)
			}
		}
	}
	for err == nil && high/low > near {
		if middle := math.Sqrt(low * high); good(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low, limited, err
}

// median is the middle one of some values, NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
