package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// describe prints what is measured, with what, and where.
func describe(o *options, servers []*server) {
	var u unix.Utsname
	unix.Uname(&u)
	average, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("Linux %s, load average %s\n", unix.ByteSliceToString(u.Release[:]), strings.Join(strings.Fields(string(average))[:3], " "))
	for _, s := range servers {
		fmt.Printf("%s %s: %s\n", s.name, s.version(), s.command())
	}
	fmt.Printf("bursts of %d; cost at %.0f packets/s; probes of %v; medians of %d\n\n", o.burst, o.rate, o.probe, o.rounds)
}

// version is what the program says that it is.
func (s *server) version() string {
	arg := "--version"
	if s.name == "switchboard" {
		arg = "version"
	}
	out, _ := exec.Command(s.args[0], arg).Output()
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return first
}

// header prints the first lines of the table. Whichever way a figure is better, its
// ratio is at most 1 where ours is at least as good.
func header(o *options, servers []*server) {
	cost, peak := "CPU of a packet, µs: all (user + system + receiving)", "most packets a second"
	widths := 31 * len(servers)
	names, peaks := "", ""
	for _, s := range servers {
		names += fmt.Sprintf(" %30s", s.name)
		peaks += fmt.Sprintf(" %12s", s.name)
	}
	if len(servers) == 2 {
		widths, names, peaks = widths+12, names+" ours/theirs", peaks+" theirs/ours"
	}
	first, second := fmt.Sprintf("%-14s |%-*s", "", widths, " "+cost), fmt.Sprintf("%-14s |%s", "row", names)
	if o.peak {
		first, second = first+fmt.Sprintf(" |%-*s", utf8.RuneCountInString(peaks), " "+peak), second+" |"+peaks
	}
	fmt.Printf("%s | others' share\n%s | of the core\n", first, second)
}

// line prints one row.
func line(o *options, r row, results []result) {
	fmt.Printf("%-14s |", r)
	for _, x := range results {
		fmt.Printf(" %9.2f (%4.1f + %4.1f + %4.1f)", median(x.cost)/1000, median(x.user)/1000, median(x.system)/1000, median(x.kernel)/1000)
	}
	if len(results) == 2 {
		fmt.Printf(" %11.2f", median(results[0].cost)/median(results[1].cost))
	}
	if o.peak {
		fmt.Print(" |")
		for _, x := range results {
			least := ""
			if x.limited {
				least = "≥"
			}
			fmt.Printf(" %12s", fmt.Sprintf("%s%.0f", least, median(x.peak)))
		}
		if len(results) == 2 {
			fmt.Printf(" %11.2f", median(results[1].peak)/median(results[0].peak))
		}
	}
	others := make([]string, len(results))
	for i, x := range results {
		others[i] = fmt.Sprintf("%.0f %%", 100*median(x.others))
	}
	fmt.Printf(" | %s\n", strings.Join(others, ", "))
}
