package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The Ethernet addresses of the two ends.
var (
	relayMAC     = [6]byte{2, 0, 0, 0, 0, 1}
	generatorMAC = [6]byte{2, 0, 0, 0, 0, 2}
)

// plug is one end of the cable.
type plug struct {
	space *space
	name  string
	index int
	napi  int   // the kernel's thread that receives, 0 where it has none
	clock clock // of that thread
}

// cable joins two namespaces: in one is a relay, in the other is the generator.
type cable struct {
	*family
	relay, generator plug
	nice             int // the priority of what is at the relay's end
}

// cables is how many there were.
var cables atomic.Int32

// newCable makes both namespaces and a veth pair between them. Whatever the kernel does
// to receive at an end is done by a thread on the core of that end, as it would be for
// a network card whose interrupts go there.
func newCable(f *family, relayCore, generatorCore, nice int) (*cable, error) {
	c := &cable{family: f, nice: nice}
	n := cables.Add(1)
	c.relay.name, c.generator.name = fmt.Sprintf("sbr%dx%d", os.Getpid(), n), fmt.Sprintf("sbg%dx%d", os.Getpid(), n)
	var err error
	if c.relay.space, err = newSpace(relayCore, nice); err != nil {
		return nil, err
	}
	if c.generator.space, err = newSpace(generatorCore, 0); err != nil {
		c.relay.space.close()
		return nil, err
	}
	if err := c.join(relayCore, generatorCore, nice); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cable) join(relayCore, generatorCore, nice int) error {
	r, g := &c.relay, &c.generator
	if err := r.space.do(func() error {
		return ip("link", "add", r.name, "address", mac(relayMAC), "numtxqueues", "1", "numrxqueues", "1",
			"type", "veth", "peer", "name", g.name, "address", mac(generatorMAC), "numtxqueues", "1", "numrxqueues", "1", "netns", g.space.path())
	}); err != nil {
		return err
	}
	if err := r.up(c.family, c.family.relay, c.family.generator, generatorMAC); err != nil {
		return err
	}
	if err := g.up(c.family, c.family.generator, c.family.relay, relayMAC); err != nil {
		return err
	}
	// At the relay's end the thread shares the core with the relay, as equals. The
	// generator is never idle: at its end the thread must come first, or its queue
	// overflows.
	if err := r.thread(relayCore, unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: int32(nice)}); err != nil {
		return err
	}
	return g.thread(generatorCore, unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1})
}

// up makes an end ready: its own address, the other's, and what the kernel is to do in
// software.
func (p *plug) up(f *family, own, other netip.Addr, otherMAC [6]byte) error {
	return p.space.do(func() error {
		address := []string{"addr", "add", own.String() + f.bits, "dev", p.name}
		if f == ipv6 {
			address = append(address, "nodad")
		} else if err := sysctl("net/ipv6/conf/all/disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := p.offloads(); err != nil {
			return err
		}
		for _, args := range [][]string{
			{"link", "set", "lo", "up"},
			{"link", "set", p.name, "addrgenmode", "none"}, // no address but ours, for which nobody asks around
			address,
			{"link", "set", p.name, "up"},
			{"neigh", "replace", other.String(), "lladdr", mac(otherMAC), "dev", p.name, "nud", "permanent"},
		} {
			if err := ip(args...); err != nil {
				return err
			}
		}
		text, err := os.ReadFile("/sys/class/net/" + p.name + "/ifindex")
		if err != nil {
			return err
		}
		p.index, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err
	})
}

// thread has a thread of the kernel receive, on one core. Kernels before 5.12 have no
// such thread.
func (p *plug) thread(core int, how unix.SchedAttr) error {
	err := p.space.do(func() error { return os.WriteFile("/sys/class/net/"+p.name+"/threaded", []byte("1"), 0) })
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("threaded NAPI: %w", err)
	}
	for range 100 {
		if p.napi = kernelThread("napi/" + p.name + "-"); p.napi != 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if p.napi == 0 {
		return errors.New("threaded NAPI is on, but its thread is not to be seen in /proc")
	}
	if err := pin(p.napi, core); err != nil {
		return err
	}
	how.Size = unix.SizeofSchedAttr
	if err := unix.SchedSetAttr(p.napi, &how, 0); err != nil {
		return fmt.Errorf("priority of the thread that receives: %w", err)
	}
	p.clock, err = newClock(p.napi)
	return err
}

// kernelThread returns the id of the thread whose name begins so, or 0.
func kernelThread(prefix string) int {
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(text), prefix) {
			continue
		}
		if id, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			return id
		}
	}
	return 0
}

func (c *cable) close() {
	c.relay.clock.close()
	c.generator.clock.close()
	c.generator.space.close()
	c.relay.space.close()
}

// moderate has the kernel look at both ends of the cable once in a while, instead of being
// told of packets by the other core; 0 has it told.
func (c *cable) moderate(d time.Duration) error {
	polls := "0" // that find nothing before the kernel is told again
	if d > 0 {
		polls = strconv.Itoa(math.MaxInt32)
	}
	for _, p := range []*plug{&c.relay, &c.generator} {
		if err := p.space.do(func() error {
			dir := "/sys/class/net/" + p.name
			return errors.Join(os.WriteFile(dir+"/gro_flush_timeout", []byte(strconv.FormatInt(d.Nanoseconds(), 10)), 0),
				os.WriteFile(dir+"/napi_defer_hard_irqs", []byte(polls), 0))
		}); err != nil {
			return fmt.Errorf("moderation: %w", err)
		}
	}
	return nil
}

// sysctl sets a setting of the kernel's, in the namespace of the calling thread.
func sysctl(name, value string) error {
	return os.WriteFile("/proc/sys/"+name, []byte(value), 0)
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func mac(a [6]byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5])
}
