package main

import (
	"errors"
	"fmt"
	"io"
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

// sample is where the counters are.
type sample struct {
	at                    time.Time
	received, bytes, lost int
	relay, kernel, far    time.Duration
	busy                  time.Duration
	user, system          int // of the relay's process, in ticks
	turns                 int // of the soak
}

func (b *bench) sample() (x sample, err error) {
	var errs [8]error
	x.at = time.Now()
	x.received, errs[0] = b.received.read()
	x.bytes, errs[1] = b.bytes.read()
	x.lost, errs[2] = b.lost.read()
	if b.server.cmd != nil {
		x.relay, errs[3] = b.server.clock.read()
		x.user, x.system, errs[4] = ticks(b.server.cmd.Process.Pid)
	}
	x.kernel, errs[5] = b.cable.relay.clock.read()
	x.far, errs[6] = b.cable.generator.clock.read()
	x.busy, errs[7] = busy(b.relayCore)
	if b.soak != nil {
		x.turns = int(b.soak.turns.Load())
	}
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
