// Package kernel reads what Linux counts of packets that it dropped, for the whole
// network namespace of the process. Elsewhere it reads nothing.
package kernel

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// Count is a counter of the kernel's.
type Count string

// The counters, as labels of a metric. They only grow, until the machine is started
// anew.
const (
	UDPReceiveBuffer Count = "udp_rcvbuf" // datagrams for which a socket's receive buffer had no room
	UDPSendBuffer    Count = "udp_sndbuf" // datagrams for which there was no room to send them
	UDPChecksum      Count = "udp_csum"   // datagrams with a wrong checksum
	Softnet          Count = "softnet"    // packets of all kinds that a CPU had no room to queue
	Squeezed         Count = "squeezed"   // times that a CPU stopped to take packets for want of time; nothing is lost yet
)

// maxFile is how much of a file is read, in bytes: that of the queues has a line for
// each CPU.
const maxFile = 1 << 20

// parseSNMP reads /proc/net/snmp: for each protocol a line of names and one of values.
// The counters that it does not have are left out.
func parseSNMP(r io.Reader, into map[Count]uint64) {
	lines := bufio.NewScanner(io.LimitReader(r, maxFile))
	lines.Buffer(nil, 64<<10)
	var names []string
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || f[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i := 1; i < min(len(f), len(names)); i++ {
			add(into, names[i], f[i])
		}
		return
	}
}

// parseSNMP6 reads /proc/net/snmp6: a name and a value on each line.
func parseSNMP6(r io.Reader, into map[Count]uint64) {
	lines := bufio.NewScanner(io.LimitReader(r, maxFile))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 2 {
			continue
		}
		if name, ok := strings.CutPrefix(f[0], "Udp6"); ok {
			add(into, name, f[1])
		}
	}
}

// add adds a value to the counter that has the kernel's name, if there is one.
func add(into map[Count]uint64, name, value string) {
	count, ok := map[string]Count{
		"RcvbufErrors": UDPReceiveBuffer, "SndbufErrors": UDPSendBuffer, "InCsumErrors": UDPChecksum,
	}[name]
	if n, err := strconv.ParseUint(value, 10, 64); ok && err == nil {
		into[count] += n
	}
}

// parseSoftnet reads /proc/net/softnet_stat: a line for each CPU of numbers in
// hexadecimal, the second of which counts what was dropped, and the third the
// squeezes.
func parseSoftnet(r io.Reader, into map[Count]uint64) {
	lines := bufio.NewScanner(io.LimitReader(r, maxFile))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 3 {
			continue
		}
		dropped, err := strconv.ParseUint(f[1], 16, 64)
		squeezed, err2 := strconv.ParseUint(f[2], 16, 64)
		if err == nil && err2 == nil {
			into[Softnet] += dropped
			into[Squeezed] += squeezed
		}
	}
}
