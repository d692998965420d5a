package processes

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// capture begins to write the packets at both phones and the relays, where they are kept.
func (p *placing) capture() error {
	if p.keep == "" {
		return nil
	}
	hosts := slices.Concat([]string{p.c.Caller, p.c.Callee}, slices.Sorted(maps.Keys(p.c.Relays)))
	for _, host := range hosts {
		// It ends with the lab at the latest.
		stop, err := p.lab.Capture(context.Background(), host, filepath.Join(p.keep, host+".pcap"))
		if err != nil {
			return labError{err}
		}
		p.captures = append(p.captures, stop)
	}
	return nil
}

// kept ends what is captured and names the files that are kept. That a file is not whole is
// for the log: the call is what it is.
func (p *placing) kept() {
	for _, stop := range p.captures {
		if err := stop(); err != nil {
			p.log.Warn("not all packets were written", "error", err)
		}
	}
	if p.keep == "" {
		return
	}
	entries, err := os.ReadDir(p.keep)
	if err != nil {
		p.log.Warn("what was kept cannot be listed", "error", err)
	}
	for _, e := range entries {
		p.call.Kept = append(p.call.Kept, filepath.Join(p.keep, e.Name()))
	}
}

// describe are what the lab's routers and lines are, as of a time.
func (p *placing) describe(at time.Time) []moment {
	var all []moment
	for _, router := range slices.Sorted(maps.Keys(p.c.Topology.Routers)) {
		d := p.lab.Describe(router)
		all = append(all, moment{at, router, fmt.Sprintf("is made by %s: %s", d.How, d.Why)})
	}
	for _, network := range slices.Sorted(maps.Keys(p.c.Topology.Networks)) {
		if d := p.lab.DescribeLink(network); d.How != "" {
			all = append(all, moment{at, network, fmt.Sprintf("has lines by %s: %s", d.How, d.Why)})
		}
	}
	return all
}

// dropped are what the lab's own routers have not let through, in the end.
func (p *placing) dropped() []moment {
	var all []moment
	now := time.Now()
	for _, router := range slices.Sorted(maps.Keys(p.c.Topology.Routers)) {
		drops := p.lab.Dropped(router)
		var words []string
		for _, reason := range slices.Sorted(maps.Keys(drops)) {
			words = append(words, fmt.Sprintf("%d %s", drops[reason], reason))
		}
		if len(words) > 0 {
			all = append(all, moment{now, router, "has dropped packets: " + strings.Join(words, ", ")})
		}
	}
	return all
}
