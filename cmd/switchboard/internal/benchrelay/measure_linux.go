package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// counter is a number that the kernel keeps of an end of the cable.
type counter struct{ file *os.File }

func (p *plug) counter(name string) (c counter, err error) {
	err = p.space.do(func() error {
		c.file, err = os.Open("/sys/class/net/" + p.name + "/statistics/" + name)
		return err
	})
	return c, err
}

func (c counter) read() (int, error) {
	var b [32]byte
	n, err := c.file.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b[:n])))
}

// bench is what measures.
type bench struct {
	cable     *cable
	generator *generator
	received  counter // packets that came to the generator
	bytes     counter // and their bytes
	lost      counter // packets that the generator's end had no room for
	relayCore int
}

// newBench takes the generator's core for this process, and lays the cable.
func newBench(o *options) (b *bench, err error) {
	if err := pinAll(o.generatorCore); err != nil {
		return nil, err
	}
	if err := first(os.Getpid(), o.nice); err != nil {
		return nil, err
	}
	b = &bench{relayCore: o.relayCore}
	if b.cable, err = newCable(o.relayCore, o.generatorCore, o.nice); err != nil {
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

func (b *bench) close() {
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
	others          float64       // share of the relay's core that others had
}

// loss is the share of packets that were not delivered.
func (p probe) loss() float64 {
	if p.sent == 0 {
		return 1
	}
	return float64(p.sent-p.delivered-p.lost) / float64(p.sent)
}

// settle is how long after the last packet was sent one may still come. It is short:
// what a server has in its buffers by then, it could not serve.
const settle = 10 * time.Millisecond

// probe sends at a rate for a while through a server, and counts.
func (b *bench) probe(ctx context.Context, s *server, l *load, rate float64, d time.Duration) (p probe, err error) {
	if ctx.Err() != nil {
		return p, errors.New("interrupted")
	}
	before, err := b.sample(s)
	if err != nil {
		return p, err
	}
	if p.sent, err = b.generator.run(l, rate, d); err != nil {
		return p, err
	}
	time.Sleep(settle)
	after, err := b.sample(s)
	if err != nil {
		return p, err
	}
	p.delivered, p.bytes, p.lost = after.received-before.received, after.bytes-before.bytes, after.lost-before.lost
	p.relay, p.kernel = after.relay-before.relay, after.kernel-before.kernel
	if all := after.user + after.system - before.user - before.system; all > 0 {
		p.user = time.Duration(float64(p.relay) * float64(after.user-before.user) / float64(all))
	}
	p.others = max(0, float64(after.busy-before.busy-p.relay-p.kernel)/float64(after.at.Sub(before.at)))
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

// sample is where the counters are.
type sample struct {
	at                    time.Time
	received, bytes, lost int
	relay, kernel, busy   time.Duration
	user, system          int // of the relay's process, in ticks
}

func (b *bench) sample(s *server) (x sample, err error) {
	var errs [7]error
	x.at = time.Now()
	x.received, errs[0] = b.received.read()
	x.bytes, errs[1] = b.bytes.read()
	x.lost, errs[2] = b.lost.read()
	x.relay, errs[3] = cpu(s.cmd.Process.Pid)
	if b.cable.relay.napi != 0 {
		x.kernel, errs[4] = cpu(b.cable.relay.napi)
	}
	x.busy, errs[5] = busy(b.relayCore)
	x.user, x.system, errs[6] = ticks(s.cmd.Process.Pid)
	return x, errors.Join(errs[:]...)
}

// ticks is what a process ran outside the kernel and in it, by proc(5).
func ticks(pid int) (user, system int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, 0, errors.New("/proc/pid/stat is short")
	}
	user, err = strconv.Atoi(f[11])
	if err != nil {
		return 0, 0, err
	}
	system, err = strconv.Atoi(f[12])
	return user, system, err
}

// busy is for how long a core has done anything.
func busy(core int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[0] != "cpu"+strconv.Itoa(core) || len(f) < 9 {
			continue
		}
		ticks := 0
		for i, s := range f[1:9] { // user nice system idle iowait irq softirq steal
			n, err := strconv.Atoi(s)
			if err != nil {
				return 0, fmt.Errorf("/proc/stat: %w", err)
			}
			if i != 3 && i != 4 {
				ticks += n
			}
		}
		return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ
	}
	return 0, fmt.Errorf("/proc/stat has no core %d", core)
}

// check sends one packet through each flow, and wants it to come as it should. What is
// lost on the way is sent again.
func (b *bench) check(flows []*flow, d direction, size int) error {
	all := frames(flows, d, size)
	missing := make([]int, len(flows))
	for i := range missing {
		missing[i] = i
	}
	for range 5 {
		if len(missing) == 0 {
			return nil
		}
		some := make([][]byte, len(missing))
		for i, m := range missing {
			some[i] = all[m]
		}
		l := newLoad(some, 1)
		for sent := 0; sent < len(some); {
			n, err := b.generator.send(l, min(16, len(some)-sent))
			if err != nil {
				return err
			}
			sent += n
			time.Sleep(time.Millisecond)
		}
		var still []int
		for _, m := range missing {
			ok, err := flows[m].came(d, payload(m, size))
			if err != nil {
				return fmt.Errorf("flow %d: %w", m, err)
			}
			if !ok {
				still = append(still, m)
			}
		}
		missing = still
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d flows deliver nothing; does a limit of the relay's hold them?", len(missing), len(flows))
	}
	return nil
}

// came reports whether a payload has come to the end of a flow. It is an error when
// something else has.
func (f *flow) came(d direction, want []byte) (bool, error) {
	conn, from := f.peer, f.relayed
	if d == down {
		conn, from, want = f.client, f.server, channelData(want)
	}
	b := make([]byte, 4096)
	conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	n, sender, err := conn.ReadFromUDPAddrPort(b)
	if err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return false, nil
		}
		return false, err
	}
	if got := sender.Addr().Unmap(); got != from.Addr() || sender.Port() != from.Port() {
		return false, fmt.Errorf("a packet came from %v, not %v", sender, from)
	}
	// What is padded to a multiple of 4 is as good (RFC 8656 section 12.5).
	if n < len(want) || n > (len(want)+3)/4*4 || string(b[:len(want)]) != string(want) {
		return false, fmt.Errorf("%d bytes came that are not the %d that were sent", n, len(want))
	}
	return true, nil
}
