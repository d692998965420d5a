// Package draw draws a case's networks as text: a tree from the internet down to the
// phones, with what each router and link does.
package draw

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/relay/natlab"
)

// Networks draws the networks of a case.
func Networks(w io.Writer, c scenario.Case) error {
	d := drawing{c: c, t: c.Topology.Complete()}
	d.network(natlab.Internet, "", "")
	for _, name := range sorted(d.t.Networks) {
		if !slices.Contains(d.seen, name) {
			d.network(name, "", "")
		}
	}
	_, err := io.WriteString(w, d.b.String())
	return err
}

type drawing struct {
	c    scenario.Case
	t    natlab.Topology
	b    strings.Builder
	seen []string
}

// node is what stands below a network: a router, or hosts.
type node struct {
	text   []string
	inside string // of a router
}

func (d *drawing) network(name, first, rest string) {
	d.seen = append(d.seen, name)
	n := d.t.Networks[name]
	line := name
	for _, p := range n.Prefixes {
		line += "  " + p.String()
	}
	fmt.Fprintf(&d.b, "%s%s\n", first, line)
	if link := Link(n.Link); link != "" {
		fmt.Fprintf(&d.b, "%s  link: %s\n", rest, link)
	}
	nodes := d.below(name)
	for i, x := range nodes {
		branch, under := "├─ ", "│  "
		if i == len(nodes)-1 {
			branch, under = "└─ ", "   "
		}
		for j, text := range x.text {
			lead := rest + under + "  "
			if j == 0 {
				lead = rest + branch
			}
			fmt.Fprintf(&d.b, "%s%s\n", lead, text)
		}
		if x.inside != "" {
			d.network(x.inside, rest+under+"└─ ", rest+under+"   ")
		}
	}
}

// below are the hosts of a network, and the routers that lead out to it.
func (d *drawing) below(network string) []node {
	var list []node
	for _, name := range sorted(d.t.Hosts) {
		networks := d.t.Hosts[name].Networks
		if i := slices.Index(networks, network); i >= 0 {
			list = append(list, node{text: []string{d.host(name, i, networks)}})
		}
	}
	for _, name := range sorted(d.t.Routers) {
		if r := d.t.Routers[name]; r.Outside == network && !slices.Contains(d.seen, r.Inside) {
			list = append(list, node{append([]string{"[" + name + "]"}, Router(r)...), r.Inside})
		}
	}
	return list
}

func (d *drawing) host(name string, i int, networks []string) string {
	text := name
	switch {
	case name == d.c.Caller:
		text += "  the caller"
	case name == d.c.Callee:
		text += "  the callee"
	case name == d.c.STUN:
		text += "  a STUN server"
	case slices.Contains(d.c.Signaling, name):
		text += "  a signaling node"
	}
	if r, ok := d.c.Relays[name]; ok {
		text += "  a relay, region " + r.Region
		if r.DataPath != "" {
			text += ", data path " + r.DataPath
		}
	}
	if i > 0 {
		text += "  (not at first; then it is in " + networks[0] + ")"
	}
	return text
}

// Router is what a router does, a line for each thing.
func Router(r natlab.RouterSpec) []string {
	var lines []string
	if r.NAT == nil {
		lines = append(lines, "routes IPv4")
	} else {
		lines = append(lines, NAT(*r.NAT)...)
	}
	switch r.IPv6 {
	case natlab.IPv6Routed:
		lines = append(lines, "routes IPv6, and lets answers in")
	case natlab.IPv6Blackhole:
		lines = append(lines, "swallows IPv6")
	}
	switch f := r.Firewall; {
	case f.BlockUDP && len(f.TCPPorts) > 0:
		lines = append(lines, fmt.Sprintf("drops UDP, and TCP but to %v", f.TCPPorts))
	case f.BlockUDP:
		lines = append(lines, "drops UDP")
	case len(f.TCPPorts) > 0:
		lines = append(lines, fmt.Sprintf("drops TCP but to %v", f.TCPPorts))
	}
	return lines
}

// NAT is how a NAT behaves, in the words of RFC 4787.
func NAT(n natlab.NAT) []string {
	kind := "NAT"
	if n.NAT64 {
		kind = "NAT64"
	}
	lines := []string{
		fmt.Sprintf("%s: mapping %v,", kind, n.Mapping),
		fmt.Sprintf("     filtering %v,", n.Filtering),
	}
	more := []string{fmt.Sprintf("ports %v", n.Ports)}
	if r := n.PortRange; r != (natlab.PortRange{}) {
		more = append(more, fmt.Sprintf("of %d to %d", r.Min, r.Max))
	}
	if n.Hairpin {
		more = append(more, "hairpinning")
	}
	if n.Timeout != 0 {
		more = append(more, "mappings live "+n.Timeout.String())
	}
	return append(lines, "     "+strings.Join(more, ", "))
}

// Link is what a link does to packets; "" if nothing.
func Link(l natlab.Link) string {
	var parts []string
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(l.Delay > 0, "delay %v", l.Delay)
	add(l.Jitter > 0, "jitter %v", l.Jitter)
	add(l.Reorder > 0, "%g %% reordered", 100*l.Reorder)
	add(l.Loss > 0 && l.Burst <= 1, "%g %% lost", 100*l.Loss)
	add(l.Loss > 0 && l.Burst > 1, "%g %% lost in runs of %g", 100*l.Loss, l.Burst)
	add(l.Rate > 0, "%g kbit/s", float64(l.Rate)/1000)
	add(l.Queue > 0, "queue %v", l.Queue)
	return strings.Join(parts, ", ")
}

// Events lists what happens in a case, and how long it lasts after that.
func Events(w io.Writer, c scenario.Case) error {
	var b strings.Builder
	var end time.Duration
	for _, e := range c.Events {
		fmt.Fprintf(&b, "%8s  %s\n", e.At, e)
		end = max(end, e.Ends())
	}
	fmt.Fprintf(&b, "%8s  hang up\n", end+c.Talk)
	_, err := io.WriteString(w, b.String())
	return err
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
