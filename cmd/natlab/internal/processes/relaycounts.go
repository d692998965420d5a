package processes

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"switchboard/cmd/natlab/internal/report"
)

// counts are what a relay's process has counted since it started.
type counts struct {
	began string // when that was, as it says itself: another process has another
	relay report.Relay
}

// metric is a line of Prometheus' text format that has what is looked for.
var metric = regexp.MustCompile(`^switchboard_relay_([a-z_]+)\{(?:[^}]*,)?(direction|path|reason)="([a-z_]*)"[^}]*\} (\S+)$`)

// readCounts reads the metrics of a relay.
func readCounts(metrics io.Reader) (counts, error) {
	var c counts
	r := &c.relay
	found := 0
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		if began, ok := strings.CutPrefix(lines.Text(), "process_start_time_seconds "); ok {
			c.began = began
			continue
		}
		m := metric.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		value, err := strconv.ParseFloat(m[4], 64)
		if err != nil {
			return c, fmt.Errorf("metric %s: %w", m[1], err)
		}
		n, of := uint64(value), m[3]
		way := &r.Up
		if of == "down" {
			way = &r.Down
		}
		switch m[1] {
		case "packets_total":
			way.Packets = n
			found++
		case "offload_packets_total":
			way.ByKernel = n
			found++
		case "data_path":
			if n == 1 {
				r.DataPath = of
			}
		case "offload_left_total":
			count(&r.Left, of, n)
		case "offload_refusals_total":
			count(&r.Refused, of, n)
		}
	}
	if found != 4 || c.began == "" || r.DataPath == "" {
		return c, fmt.Errorf("metrics: these are not a relay's, or not of this version: %w", lines.Err())
	}
	return c, lines.Err()
}

// count adds to what has a name. What is none is left out.
func count(to *map[string]uint64, name string, n uint64) {
	if n == 0 {
		return
	}
	if *to == nil {
		*to = map[string]uint64{}
	}
	(*to)[name] += n
}

// add adds what another process has counted, on the same host. The data path is the newer
// one's.
func add(r, more report.Relay) report.Relay {
	for _, way := range []struct{ to, from *report.Relayed }{{&r.Up, &more.Up}, {&r.Down, &more.Down}} {
		way.to.Packets += way.from.Packets
		way.to.ByKernel += way.from.ByKernel
	}
	sum := func(one, other map[string]uint64) (all map[string]uint64) {
		for _, m := range []map[string]uint64{one, other} {
			for name, n := range m {
				count(&all, name, n)
			}
		}
		return all
	}
	r.Left, r.Refused = sum(r.Left, more.Left), sum(r.Refused, more.Refused)
	r.DataPath = more.DataPath
	return r
}
