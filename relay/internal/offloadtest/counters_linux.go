package offloadtest

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Counters are what the kernel counts in a namespace of IP and UDP, by names such as
// Udp.InCsumErrors and Udp6.InCsumErrors.
type Counters map[string]uint64

// Counters returns them.
func (s *Space) Counters() (all Counters, err error) {
	all = make(Counters)
	return all, s.Do(func() error { return all.read() })
}

func (c Counters) read() error {
	four, err := os.Open("/proc/thread-self/net/snmp")
	if err != nil {
		return err
	}
	defer four.Close()
	for lines := bufio.NewScanner(four); lines.Scan(); { // names, and below them numbers
		names := strings.Fields(lines.Text())
		if !lines.Scan() {
			return fmt.Errorf("%s: a line is missing", four.Name())
		}
		for i, n := range strings.Fields(lines.Text()) {
			if i > 0 {
				c.note(strings.TrimSuffix(names[0], ":")+"."+names[i], n)
			}
		}
	}
	text, err := os.ReadFile("/proc/thread-self/net/snmp6")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 {
			family, name, _ := strings.Cut(f[0], "6")
			c.note(family+"6."+name, f[1])
		}
	}
	return nil
}

func (c Counters) note(name, value string) {
	if n, err := strconv.ParseUint(value, 10, 64); err == nil {
		c[name] = n
	}
}

// BadSums is how many datagrams of UDP had a wrong checksum, or the header of an IPv4 packet.
func (c Counters) BadSums() uint64 { return c["Udp.InCsumErrors"] + c["Udp6.InCsumErrors"] }

// Since returns what has changed since an earlier time.
func (c Counters) Since(before Counters) Counters {
	d := maps.Clone(c)
	for name, n := range before {
		if d[name] -= n; d[name] == 0 {
			delete(d, name)
		}
	}
	return d
}

func (c Counters) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(c)) {
		all = append(all, fmt.Sprint(name, "=", c[name]))
	}
	return strings.Join(all, " ")
}

// NoBadSums fails a test, at its end, during which a wrong checksum was seen on any machine.
func (n *Network) NoBadSums(t testing.TB) {
	t.Helper()
	spaces := map[string]*Space{"client": n.Client.Space, "relay": n.Relay, "peer": n.Peer.Space}
	before := make(map[string]Counters)
	for name, s := range spaces {
		c, err := s.Counters()
		if err != nil {
			t.Fatal(err)
		}
		before[name] = c
	}
	t.Cleanup(func() {
		for name, s := range spaces {
			c, err := s.Counters()
			if err != nil {
				t.Error(err)
				continue
			}
			if d := c.Since(before[name]); d.BadSums() > 0 {
				t.Errorf("wrong checksums at the %s: %v", name, d)
			}
		}
	})
}
