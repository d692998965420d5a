package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// describe prints what is measured, with what, and where.
func describe(o *options, benches []*bench) {
	var u unix.Utsname
	unix.Uname(&u)
	fmt.Printf("Linux %s, load average %s\n", unix.ByteSliceToString(u.Release[:]), loadAverage())
	for _, b := range benches {
		fmt.Printf("%s %s: %s\n", b.server.name, b.server.version(), b.server.command())
	}
	fmt.Printf("cost at %.0f packets/s; probes of %v; medians of %d; moderation of %v, and without\n\n", o.rate, o.probe, o.rounds, o.moderation)
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(text)); err == nil && len(f) > 2 {
		return strings.Join(f[:3], " ")
	}
	return "unknown"
}

// version is what the program says that it is.
func (s *server) version() string {
	if s.forward != nil {
		return "(no program)"
	}
	arg := "--version"
	if s.path != "" {
		arg = "version"
	}
	out, _ := exec.Command(s.args[0], arg).Output()
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return first
}

// column is a part of the table.
type column struct {
	first, second string // of its heading
	width         int
	cell          func(x *result, all results) string
}

// results are those of all servers in one row, by their names.
type results map[string]*result

// columns are what is printed of each server.
func columns(o *options) []column {
	var all []column
	if o.moderation > 0 {
		all = costColumns(o, "CPU of a packet, µs:", func(x *result) *costs { return &x.moderated })
	}
	all = append(all, costColumns(o, "the same, woken:", func(x *result) *costs { return &x.woken })...)
	if o.peak {
		all = append(all,
			column{"at most", "packets/s", 9, (*result).most},
			column{"that of … by it", "coturn   user", 15, ratios(func(x *result) float64 { return 1 / median(x.peak) })},
			column{"CPU of a", "packet, µs", 10, micros(func(x *result) []float64 { return x.peakCost })},
			column{"by that of", "coturn   user", 15, ratios(func(x *result) float64 { return median(x.peakCost) })},
			column{"lost", "there", 7, percent(3, func(x *result) float64 { return median(x.loss) + median(x.farLoss) })})
	}
	return append(all, column{"others'", "share", 7, percent(0, func(x *result) float64 { return median(x.others) })})
}

// costColumns are what is printed of one kind of costs.
func costColumns(o *options, name string, of func(*result) *costs) []column {
	all := []column{
		{name, "all (user + system + receiving)", 31, func(x *result, _ results) string { return of(x).String() }},
		{"without", "packets", 7, micros(func(x *result) []float64 { return of(x).rest })},
		{"all, by that of", "coturn   user", 15, ratios(func(x *result) float64 { return median(of(x).all) })},
		{"process, by that of", "coturn   user", 19, ratios(func(x *result) float64 { return median(of(x).process) })},
	}
	if o.soak {
		all = append(all,
			column{"by the", "soak", 7, micros(func(x *result) []float64 { return of(x).taken })},
			column{"other", "core", 7, micros(func(x *result) []float64 { return of(x).far })})
	}
	return all
}

func (c *costs) String() string {
	user, process := median(c.user)/1000, median(c.process)/1000
	return fmt.Sprintf("%.2f (%4.2f + %4.2f + %4.2f)", median(c.all)/1000, user, process-user, median(c.kernel)/1000)
}

func (x *result) most(results) string {
	sign := ""
	if x.limited {
		sign = "≥"
	}
	return fmt.Sprintf("%s%.0f", sign, median(x.peak))
}

func micros(figure func(*result) []float64) func(*result, results) string {
	return func(x *result, _ results) string { return fmt.Sprintf("%.2f", median(figure(x))/1000) }
}

func percent(digits int, figure func(*result) float64) func(*result, results) string {
	return func(x *result, _ results) string { return fmt.Sprintf("%.*f %%", digits, 100*figure(x)) }
}

// ratios compares a figure, of which less is better, with that of coturn, and of the
// relay's own process.
func ratios(figure func(*result) float64) func(*result, results) string {
	return func(x *result, all results) string {
		var cells []string
		for _, name := range []string{coturn, userPath} {
			cell := "-"
			if base := all[name]; base != nil && base != x {
				cell = fmt.Sprintf("%.2f", figure(x)/figure(base))
			}
			cells = append(cells, fmt.Sprintf("%6s", cell))
		}
		return strings.Join(cells, " ")
	}
}

// header prints the first lines of the table.
func header(o *options) {
	first, second := fmt.Sprintf("%37s", ""), fmt.Sprintf("%-14s %5s %-16s", "row", "burst", "server")
	for _, c := range columns(o) {
		first += fmt.Sprintf(" | %*s", c.width, c.first)
		second += fmt.Sprintf(" | %*s", c.width, c.second)
	}
	fmt.Printf("%s\n%s\n", first, second)
}

// lines prints one row: a line for each server.
func lines(o *options, r row, benches []*bench, measured []result) {
	all := make(results)
	for i, b := range benches {
		if measured[i].failed == nil {
			all[b.server.name] = &measured[i]
		}
	}
	for _, b := range benches {
		line := fmt.Sprintf("%-14s %5d %-16s", r, r.burst, b.server.name)
		x := all[b.server.name]
		if x == nil {
			fmt.Println(line + " | not measured, see below")
			continue
		}
		for _, c := range columns(o) {
			line += fmt.Sprintf(" | %*s", c.width, c.cell(x, all))
		}
		fmt.Println(line)
	}
}
