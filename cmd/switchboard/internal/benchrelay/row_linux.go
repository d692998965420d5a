package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"switchboard/relay"
)

// row is one line of the table.
type row struct {
	direction   direction
	family      *family
	size        int // of the payload, in bytes
	allocations int
	burst       int // packets in a row for one allocation
}

func (r row) String() string {
	return fmt.Sprintf("%s%s/%d/%d", r.direction, r.family.suffix, r.size, r.allocations)
}

// rows are all of one family: a packet of Opus and one of video, each way, for one call,
// for some and for many.
func rows(f *family, bursts []int) (all []row) {
	for _, d := range []direction{up, down} {
		for _, size := range []int{172, 1200} {
			for _, n := range []int{1, 64, 1000} {
				for _, burst := range bursts {
					all = append(all, row{d, f, size, n, burst})
				}
			}
		}
	}
	return all
}

// result is what was measured of one server in one row: one value a round.
type result struct {
	woken, moderated costs
	peak             []float64 // packets a second
	peakCost         []float64 // nanoseconds a packet there
	loss, farLoss    []float64 // shares of them
	limited          bool      // the generator came to its end before the server
	others           []float64 // share of the relay's core that others had
	failed           error     // why it could not be measured
}

// costs are nanoseconds a packet, one value a round.
type costs struct {
	all, process, user, kernel []float64 // all, and its parts
	rest                       []float64 // of all, what the core runs without packets
	far, taken                 []float64 // the same of the other core, and of this one by the soak
}

// measure measures rows, and prints each. One that cannot be measured does not keep the
// others from it, nor does a server that fails in it.
func measure(ctx context.Context, o *options, t turn, wanted []row, benches []*bench) error {
	var failed []error
	for _, r := range wanted {
		measured, err := measureRow(ctx, o, t, r, benches)
		if err != nil {
			failed = append(failed, fmt.Errorf("%v: %w", r, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		lines(o, r, benches, measured)
		for i, b := range benches {
			if err := measured[i].failed; err != nil {
				failed = append(failed, fmt.Errorf("%v: %s: %w", r, b.server.name, err))
			}
		}
	}
	return errors.Join(failed...)
}

// ready is one server, with what is sent through it in one row.
type ready struct {
	*bench
	row   row
	flows []*flow
	load  *load
}

// measureRow measures one row: the servers in turn, round after round.
func measureRow(ctx context.Context, o *options, t turn, r row, benches []*bench) ([]result, error) {
	measured, all := make([]result, len(benches)), make([]*ready, len(benches))
	for i, b := range benches {
		flows, err := b.cable.openAll(ctx, b.server, r.allocations, true)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.server.name, err)
		}
		defer closeAll(flows)
		if err := b.check(flows, r.direction, r.size, r.burst); err != nil {
			return nil, fmt.Errorf("%s: %w", b.server.name, err)
		}
		all[i] = &ready{b, r, flows, newLoad(frames(flows, r.direction, r.size), r.burst)}
	}
	for range o.rounds {
		for i, b := range all {
			if measured[i].failed == nil {
				measured[i].failed = b.round(ctx, o, t, &measured[i])
			}
			if ctx.Err() != nil {
				return nil, errInterrupted
			}
		}
	}
	if i := slices.IndexFunc(all, func(b *ready) bool { return b.server.ops != "" }); o.profile != "" && i >= 0 {
		return measured, all[i].profile(ctx, o, all[i].flows, all[i].load)
	}
	return measured, nil
}

// round measures one server once, if it is its turn.
func (b *ready) round(ctx context.Context, o *options, t turn, to *result) error {
	if err := t.take(ctx); err != nil {
		return err
	}
	defer t.give()
	before, err := b.begin()
	if err != nil {
		return err
	}
	if err := b.figures(ctx, o, to); err != nil {
		return err
	}
	return b.checkNone(ctx, before)
}

// figures measures all that there is to measure once. The first packets after a start are
// not counted.
func (b *ready) figures(ctx context.Context, o *options, to *result) error {
	for _, f := range b.flows { // channels and permissions end if nobody wants them to stay
		if err := f.bind(); err != nil {
			return err
		}
	}
	if err := deaf(b.flows, true); err != nil {
		return err
	}
	defer deaf(b.flows, false)
	if len(to.woken.all) == 0 {
		if _, err := b.probe(ctx, b.load, o.rate, o.probe); err != nil {
			return err
		}
	}
	if err := b.costs(ctx, o, to); err != nil || !o.peak {
		return err
	}
	guess, step := 2*o.rate, 1.25
	if n := len(to.peak); n > 0 {
		guess, step = to.peak[n-1], 1.06
	}
	before, err := b.begin()
	if err != nil {
		return err
	}
	p, err := b.peak(ctx, guess, step, o.probe)
	if err != nil {
		return err
	}
	to.peakCost = append(to.peakCost, float64(p.relay+p.kernel)/float64(p.delivered))
	to.peak, to.limited = append(to.peak, p.rate), to.limited || p.limited
	to.loss, to.farLoss = append(to.loss, p.loss()), append(to.farLoss, p.farLoss())
	return b.checkShare(ctx, before, leastAtPeak)
}

// costs measures the cost of a packet, with each core told of packets by the other, and as
// if there were network cards between them.
func (b *ready) costs(ctx context.Context, o *options, to *result) error {
	if err := b.cable.moderate(0); err != nil {
		return err
	}
	if err := b.cost(ctx, o, to, &to.woken); err != nil || o.moderation == 0 {
		return err
	}
	if err := b.cable.moderate(o.moderation); err != nil {
		return err
	}
	return b.cost(ctx, o, to, &to.moderated)
}

// cost measures the cost of a packet. A probe of which much is lost says nothing about
// it, and is repeated: it may be somebody else's fault.
func (b *ready) cost(ctx context.Context, o *options, of *result, to *costs) error {
	for try := 1; ; try++ {
		idle, err := b.soaked(ctx, o.probe)
		if err != nil {
			return err
		}
		before, err := b.begin()
		if err != nil {
			return err
		}
		p, err := b.probe(ctx, b.load, o.rate, o.probe)
		if err != nil {
			return err
		}
		err = errors.Join(p.check(o, b.row), b.checkProcess(p))
		if err == nil {
			rest, err := b.rest(ctx, o)
			if err != nil {
				return err
			}
			to.rest = append(to.rest, rest)
			if err := b.checkShare(ctx, before, least); err != nil {
				return err
			}
			to.add(p, idle)
			of.others = append(of.others, p.others)
			return nil
		}
		if try == 5 {
			return err
		}
	}
}

// rest is what the relay's core runs when nothing comes, such as looks at the ends of the
// cable, in nanoseconds for as long as a packet has at -rate.
func (b *bench) rest(ctx context.Context, o *options) (float64, error) {
	before, err := b.sample()
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, o.probe/4); err != nil {
		return 0, err
	}
	after, err := b.sample()
	if err != nil {
		return 0, err
	}
	ran := after.relay - before.relay + after.kernel - before.kernel
	return float64(ran) / after.at.Sub(before.at).Seconds() / o.rate, nil
}

// soaked is how many turns a second the soak has while nothing is sent; 0 without one.
func (b *bench) soaked(ctx context.Context, d time.Duration) (float64, error) {
	if b.soak == nil {
		return 0, nil
	}
	start, before := time.Now(), b.soak.turns.Load()
	if err := pause(ctx, d); err != nil {
		return 0, err
	}
	return float64(b.soak.turns.Load()-before) / time.Since(start).Seconds(), nil
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
	if mean := p.bytes / p.delivered; mean > r.size+r.family.headers()+2*channelHeader {
		return fmt.Errorf("packets of %d bytes are counted where payloads have %d: the kernel counts several as one", mean, r.size)
	}
	return nil
}

// checkProcess says whether the server's process was counted, where it must have done
// something.
func (b *bench) checkProcess(p probe) error {
	if b.server.cmd != nil && b.server.path != relay.DataPathEBPF && p.relay < time.Duration(p.delivered)*leastKernel {
		return fmt.Errorf("for %d packets the process has done nothing: what does it is not counted", p.delivered)
	}
	return nil
}

// add counts a probe. While nothing was sent, the soak had so many turns a second.
func (r *costs) add(p probe, idle float64) {
	n := float64(p.delivered)
	r.all = append(r.all, float64(p.relay+p.kernel)/n)
	r.process = append(r.process, float64(p.relay)/n)
	r.user = append(r.user, float64(p.user)/n)
	r.kernel = append(r.kernel, float64(p.kernel)/n)
	r.far = append(r.far, float64(p.far)/n)
	if idle > 0 {
		r.taken = append(r.taken, (1-float64(p.turns)/(idle*p.took.Seconds()))*float64(p.took)/n)
	}
}

const (
	// maxLoss is the share of packets that may be lost at the most packets a second.
	maxLoss = 0.001
	// near is how near the most that got through is to the least that did not.
	near = 1.03
	// slowest is where the search for the most packets a second gives up.
	slowest = 1000
)

// top is the probe with the most packets a second.
type top struct {
	probe
	rate    float64
	limited bool // it was the generator that could not send more, or take more
}

// peak looks for the most packets a second of which at most maxLoss is lost, from a
// guess on in steps, each a multiple of the last.
func (b *ready) peak(ctx context.Context, guess, step float64, d time.Duration) (best top, err error) {
	good := func(rate float64) bool {
		// What fails may be somebody else's fault, and what was not sent says nothing.
		lost, short := 0, 0
		for lost < 2 && short < 4 {
			var p probe
			if p, err = b.probe(ctx, b.load, rate, d); err != nil {
				return false
			}
			switch {
			case float64(p.sent) < 0.98*rate*d.Seconds():
				short++
			case p.loss() > maxLoss:
				lost++
			case p.loss()+p.farLoss() > maxLoss:
				short++
			default:
				best.probe, best.rate = p, rate
				return true
			}
		}
		best.limited = lost < 2
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
				return best, fmt.Errorf("even of %d packets a second more than %.1f %% are lost", slowest, 100*maxLoss)
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
	return best, err
}

// median is the middle one of some values, NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
