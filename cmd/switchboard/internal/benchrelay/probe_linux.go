package main

import (
	"context"
	"errors"
	"time"
)

// bench is what measures one server.
type bench struct {
	server    *server
	cable     *cable
	generator *generator
	received  counter // packets that came to the generator
	bytes     counter // and their bytes
	lost      counter // packets that the generator's end had no room for
	relayCore int
	soak      *soak // nil where there is none
	delivered int   // by all probes since somebody set it to 0
}

// newBench lays the cable for a server.
func newBench(o *options, f *family, s *server) (b *bench, err error) {
	b = &bench{server: s, relayCore: o.relayCore}
	if b.cable, err = newCable(f, o.relayCore, o.generatorCore, o.nice); err != nil {
		return nil, err
	}
	if b.generator, err = newGenerator(&b.cable.generator, o.generatorCore, o.nice); err != nil {
		b.cable.close()
		return nil, err
	}
	for _, c := range []struct {
		to   *counter
		plug *plug
		name string
	}{{&b.received, &b.cable.generator, "rx_packets"}, {&b.bytes, &b.cable.generator, "rx_bytes"}, {&b.lost, &b.cable.relay, "tx_dropped"}} {
		if *c.to, err = c.plug.counter(c.name); err != nil {
			b.close()
			return nil, err
		}
	}
	return b, nil
}

// close ends the server, and takes the cable away.
func (b *bench) close() {
	b.server.stop()
	for _, c := range []counter{b.received, b.bytes, b.lost} {
		c.file.Close()
	}
	b.generator.close()
	b.cable.close()
}

// probe is what came of sending for a while.
type probe struct {
	sent, delivered int
	lost            int           // at the generator's end, which is not the relay's fault
	bytes           int           // of what was delivered
	relay, user     time.Duration // what the relay's process ran, and how much of it outside the kernel
	kernel          time.Duration // what the kernel's thread that receives for it ran
	far             time.Duration // what the one that receives for the generator ran, on the other core
	threaded        bool          // whether there are such threads
	others          float64       // share of the relay's core that others had
	took            time.Duration
	turns           int // of the soak
}

// loss is the share of packets that the relay did not deliver.
func (p probe) loss() float64 {
	if p.sent == 0 {
		return 1
	}
	return float64(p.sent-p.delivered-p.lost) / float64(p.sent)
}

// farLoss is the share of packets that the generator's end did not take.
func (p probe) farLoss() float64 {
	if p.sent == 0 {
		return 0
	}
	return float64(p.lost) / float64(p.sent)
}

// settle is how long after the last packet was sent one may still come. It is short:
// what a server has in its buffers by then, it could not serve.
const settle = 10 * time.Millisecond

// probe sends at a rate for a while through the server, and counts.
func (b *bench) probe(ctx context.Context, l *load, rate float64, d time.Duration) (p probe, err error) {
	if ctx.Err() != nil {
		return p, errInterrupted
	}
	before, err := b.sample()
	if err != nil {
		return p, err
	}
	if p.sent, err = b.generator.run(l, rate, d); err != nil {
		return p, err
	}
	time.Sleep(settle)
	after, err := b.sample()
	if err != nil {
		return p, err
	}
	p.delivered, p.bytes, p.lost = after.received-before.received, after.bytes-before.bytes, after.lost-before.lost
	b.delivered += p.delivered
	p.relay, p.kernel, p.far = after.relay-before.relay, after.kernel-before.kernel, after.far-before.far
	if all := after.user + after.system - before.user - before.system; all > 0 {
		p.user = time.Duration(float64(p.relay) * float64(after.user-before.user) / float64(all))
	}
	p.threaded = b.cable.relay.napi != 0
	p.took, p.turns = after.at.Sub(before.at), after.turns-before.turns
	p.others = max(0, float64(after.busy-before.busy-p.relay-p.kernel)/float64(p.took))
	return p, b.drain()
}

// drain waits until nothing comes any more.
func (b *bench) drain() error {
	last := -1
	for range 200 {
		n, err := b.received.read()
		if err != nil || n == last {
			return err
		}
		last = n
		time.Sleep(2 * settle)
	}
	return errors.New("packets come without an end")
}
