package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The addresses of the two ends of the cable. They are private ones, since relays
// in development relay to no others that are not public.
var (
	relayAddr     = netip.MustParseAddr("10.77.0.1")
	generatorAddr = netip.MustParseAddr("10.77.0.2")
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
	napi  int // the thread that receives, 0 where the kernel has none
}

// cable joins two namespaces: in one are the relays, in the other is the generator.
type cable struct {
	relay, generator plug
	nice             int // the priority of what is at the relay's end
}

// newCable makes both namespaces and a veth pair between them. Whatever the kernel does to receive
// at an end is done by a thread on the core of that end, as the interrupts of a
// network card would.
func newCable(relayCore, generatorCore, nice int) (*cable, error) {
	c := &cable{nice: nice}
	c.relay.name, c.generator.name = fmt.Sprintf("sbr%d", os.Getpid()), fmt.Sprintf("sbg%d", os.Getpid())
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
	if err := r.up(relayAddr, generatorAddr, generatorMAC); err != nil {
		return err
	}
	if err := g.up(generatorAddr, relayAddr, relayMAC); err != nil {
		return err
	}
	// At the relay's end it shares the core with the relay, as equals. The generator is
	// never idle: at its end the thread must come first, or its queue overflows.
	if err := r.thread(relayCore, unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: int32(nice)}); err != nil {
		return err
	}
	return g.thread(generatorCore, unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1})
}

// up makes an end ready: its own address, the other's, and what the kernel is to do in
// software.
func (p *plug) up(own, other netip.Addr, otherMAC [6]byte) error {
	return p.space.do(func() error {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := p.offloads(); err != nil {
			return err
		}
		for _, args := range [][]string{
			{"link", "set", "lo", "up"},
			{"addr", "add", own.String() + "/30", "dev", p.name},
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
	return nil
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

// Requests of the ioctl SIOCETHTOOL, from linux/ethtool.h.
const (
	ethtoolSetChecksum = 0x17 // ETHTOOL_STXCSUM
	ethtoolSetGRO      = 0x2c // ETHTOOL_SGRO
	ethtoolStringCount = 0x37 // ETHTOOL_GSSET_INFO
	ethtoolStrings     = 0x1b // ETHTOOL_GSTRINGS
	ethtoolSetFeatures = 0x3b // ETHTOOL_SFEATURES
	featureStrings     = 4    // ETH_SS_FEATURES
	stringSize         = 32   // ETH_GSTRING_LEN
)

// offloads sets what the driver leaves to the other end. Receive offload on is what
// makes a veth receive by NAPI. Checksums are computed by who sends, so that the other
// end finds them as from a wire. Segments of UDP are cut before they go over the cable,
// so that the counters count what a wire would carry.
func (p *plug) offloads() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, set := range []struct {
		name           string
		command, value uint32
	}{{"receive offload", ethtoolSetGRO, 1}, {"transmit checksums", ethtoolSetChecksum, 0}} {
		v := struct{ command, value uint32 }{set.command, set.value}
		if err := p.ethtool(fd, unsafe.Pointer(&v)); err != nil {
			return fmt.Errorf("%s: %w", set.name, err)
		}
	}
	return p.featureOff(fd, "tx-udp-segmentation")
}

// featureOff turns a feature of the driver off, by its name. It is no error when the
// kernel has none of that name.
func (p *plug) featureOff(fd int, name string) error {
	info := struct {
		command, _ uint32
		mask       uint64
		n          uint32
	}{command: ethtoolStringCount, mask: 1 << featureStrings}
	if err := p.ethtool(fd, unsafe.Pointer(&info)); err != nil {
		return fmt.Errorf("count features: %w", err)
	}
	const header = 12
	names := make([]byte, header+int(info.n)*stringSize)
	copy(names, words(ethtoolStrings, featureStrings, info.n))
	if err := p.ethtool(fd, unsafe.Pointer(&names[0])); err != nil {
		return fmt.Errorf("names of features: %w", err)
	}
	for i := range int(info.n) {
		s := names[header+i*stringSize:][:stringSize]
		if string(bytes.TrimRight(s, "\x00")) != name {
			continue
		}
		blocks := (info.n + 31) / 32
		set := make([]uint32, 2+2*blocks) // of each block, those that are meant and those that are to be on
		set[0], set[1] = ethtoolSetFeatures, blocks
		set[2+2*(i/32)] = 1 << (i % 32)
		if err := p.ethtool(fd, unsafe.Pointer(&set[0])); err != nil {
			return fmt.Errorf("%s off: %w", name, err)
		}
	}
	return nil
}

func (p *plug) ethtool(fd int, data unsafe.Pointer) error {
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: data}
	copy(request.name[:], p.name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

// words are numbers as the kernel has them in memory.
func words(w ...uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&w[0])), 4*len(w))
}

func (c *cable) close() {
	c.generator.space.close()
	c.relay.space.close()
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
