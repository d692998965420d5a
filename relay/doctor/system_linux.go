package doctor

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"switchboard/relay/internal/kernel"
)

// What the kernel of a relay's machine should allow.
const (
	goodBuffer  = 4 << 20 // bytes; what the relay asks for
	goodBacklog = 8192    // packets
)

// settingsFile is where the advice has settings of the kernel written, so that they
// hold after a restart.
const settingsFile = "/etc/sysctl.d/90-switchboard-relay.conf"

// system looks at the machine.
func (d *doctor) system() {
	m := machine{proc: "/proc"}
	d.sysctl(m, "net.core.rmem_max", goodBuffer, "bursts of clients' packets are lost before the relay sees them")
	d.sysctl(m, "net.core.wmem_max", goodBuffer, "bursts of packets to clients are lost")
	d.sysctl(m, "net.core.netdev_max_backlog", goodBacklog, "a CPU that is busy for a moment drops packets")
	d.files()
	d.dataPath()
	d.conntrack(m)
	d.clock()
	d.drops(kernel.Read())
}

// machine is where the kernel shows its settings.
type machine struct{ proc string }

// number reads a setting, by its name for sysctl.
func (m machine) number(name string) (uint64, bool) {
	f, err := os.Open(filepath.Join(m.proc, "sys", strings.ReplaceAll(name, ".", "/")))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64))
	n, err2 := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil && err2 == nil
}

func (d *doctor) sysctl(m machine, name string, good uint64, otherwise string) {
	n, ok := m.number(name)
	switch {
	case !ok:
		d.tell(Warning, name, "cannot be read", fmt.Sprintf("look at it outside of the container; it should be %d at least", good))
	default:
		d.either(n >= good, Warning, name, fmt.Sprint(n), fmt.Sprintf("%s: sysctl -w %s=%d, and the same in %s", otherwise, name, good, settingsFile))
	}
}

// spareFiles are those that a relay has open beside its clients'.
const spareFiles = 64

// files compares how many files the relay may open with what it may need.
func (d *doctor) files() {
	need := uint64(d.System.Allocations + d.System.Connections + spareFiles)
	may, whose := d.System.MaxFiles, "of the relay"
	if may == 0 {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			return
		}
		may, whose = l.Max, "of this shell; the relay does not answer"
	}
	d.either(may >= need, Warning, "open files", fmt.Sprintf("%d, needs %d, %s", may, need, whose),
		fmt.Sprintf("allocations and connections are refused before the quotas are reached: LimitNOFILE=%d in the unit, or lower relay.quotas.allocations and relay.limits.connections", roundUp(need)))
}

func roundUp(n uint64) uint64 {
	p := uint64(1024)
	for p < n {
		p *= 2
	}
	return p
}

// conntrack looks at connection tracking, which is for firewalls and needs an entry for
// each pair of addresses.
func (d *doctor) conntrack(m machine) {
	const check = "connection tracking"
	most, ok := m.number("net.netfilter.nf_conntrack_max")
	if !ok {
		d.tell(OK, check, "not loaded", "")
		return
	}
	n, _ := m.number("net.netfilter.nf_conntrack_count")
	need := uint64(4 * d.System.Allocations) // to the client, and to two or three peers
	figure := fmt.Sprintf("%d of %d in use", n, most)
	advice := fmt.Sprintf("a full table drops calls at random: take the relay's ports out of it (nft notrack, see relay/README.md), or sysctl -w net.netfilter.nf_conntrack_max=%d, and the same in %s", max(roundUp(2*need), 2*most), settingsFile)
	switch {
	case n*10 > most*9:
		d.tell(Failed, check, figure, advice)
	default:
		d.either(n*2 <= most && most >= need, Warning, check, figure, advice)
	}
}

// clockUnsynced is STA_UNSYNC of adjtimex (linux/timex.h).
const clockUnsynced = 0x40

// clock asks whether the clock is kept: credentials expire by it.
func (d *doctor) clock() {
	const check = "clock is synchronised"
	var t syscall.Timex
	if _, err := syscall.Adjtimex(&t); err != nil {
		d.tell(Warning, check, "not known", "see: timedatectl")
		return
	}
	d.either(t.Status&clockUnsynced == 0, Warning, check, fmt.Sprintf("within %.0f ms, says the kernel", float64(t.Maxerror)/1000),
		"nothing keeps the clock: credentials seem expired when it goes wrong; run chrony or systemd-timesyncd (timedatectl set-ntp true)")
}

// drops tells what the kernel has dropped since the machine was started.
func (d *doctor) drops(counts map[kernel.Count]uint64) {
	for _, c := range []struct {
		count         kernel.Count
		check, advice string
	}{
		{kernel.UDPReceiveBuffer, "UDP RcvbufErrors", "packets were lost because a program did not read fast enough: raise net.core.rmem_max; if it is high, this machine has too much to do. See whether it grows: nstat -az UdpRcvbufErrors"},
		{kernel.UDPSendBuffer, "UDP SndbufErrors", "packets were lost because the network did not take them fast enough: raise net.core.wmem_max; see whether the link is full"},
		{kernel.Softnet, "packets dropped by CPUs", "raise net.core.netdev_max_backlog, and spread the network card's interrupts over the CPUs"},
	} {
		if n, ok := counts[c.count]; ok {
			d.either(n == 0, Warning, c.check, fmt.Sprintf("%d since the start of the machine", n), c.advice)
		}
	}
}
