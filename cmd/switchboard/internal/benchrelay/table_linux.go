package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

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

// header prints the first line of the table.
func header(o *options, servers []*server) {
	fmt.Printf("%-14s", "row")
	for _, s := range servers {
		fmt.Printf(" | %-11s µs/packet (user+sys+napi)", s.name)
	}
	if len(servers) == 2 {
		fmt.Print(" | ours/theirs")
	}
	if o.peak {
		for _, s := range servers {
			fmt.Printf(" | %-11s packets/s", s.name)
		}
		if len(servers) == 2 {
			fmt.Print(" | theirs/ours")
		}
	}
	fmt.Println(" | others")
}

// line prints one.
func line(o *options, r row, results []result) {
	fmt.Printf("%-14s", r)
	for _, x := range results {
		fmt.Printf(" | %18.2f (%4.1f + %4.1f + %4.1f)", median(x.cost)/1000, median(x.user)/1000, median(x.system)/1000, median(x.kernel)/1000)
	}
	if len(results) == 2 {
		fmt.Printf(" | %11.2f", median(results[0].cost)/median(results[1].cost))
	}
	if o.peak {
		for _, x := range results {
			more := " "
			if x.limited {
				more = "+"
			}
			fmt.Printf(" | %20.0f%s", median(x.peak), more)
		}
		if len(results) == 2 {
			fmt.Printf(" | %11.2f", median(results[1].peak)/median(results[0].peak))
		}
	}
	for i, x := range results {
		sep := "/"
		if i == 0 {
			sep = " | "
		}
		fmt.Printf("%s%.0f%%", sep, 100*median(x.others))
	}
	fmt.Println()
}
