package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"switchboard/relay"
)

// options are what the command line says.
type options struct {
	switchboard, turnserver  string
	only                     []string
	rows                     *regexp.Regexp
	rounds, nice             int
	bursts                   []int
	rate                     float64
	probe, moderation        time.Duration
	peak, soak, ipv6         bool
	profile                  string
	relayCore, generatorCore int
	memory                   int
}

func main() {
	if os.Getenv(inSession) == "" {
		os.Exit(again())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, parse())
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchrelay:", err)
		os.Exit(1)
	}
}

func parse() *options {
	o := &options{}
	var rows, only, bursts string
	var quick bool
	flag.StringVar(&o.switchboard, "switchboard", "bin/switchboard", "this project's relay, a `program`")
	flag.StringVar(&o.turnserver, "turnserver", "turnserver", "coturn's, a `program`; compared with where it is installed")
	flag.StringVar(&only, "only", strings.Join(names, ","), "measure these `servers`")
	flag.StringVar(&rows, "rows", "", "measure rows whose name matches a `regexp`, such as '^up/172/64$'")
	flag.BoolVar(&quick, "quick", false, "one round, rows with 64 allocations")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds, whose medians are printed")
	flag.StringVar(&bursts, "burst", "4", "packets in a row for one allocation; `several`, as in 1,4,8, are measured one after the other")
	flag.BoolVar(&o.ipv6, "ipv6", false, "measure rows of IPv6, too: up6/172/64 and so on")
	flag.DurationVar(&o.moderation, "moderation", 50*time.Microsecond, "how long both ends of the cable gather packets, as network cards do that moderate their interrupts; 0 leaves that out")
	flag.BoolVar(&o.soak, "soak", false, "count in a second way, too, what the relay's core and the other one run for a packet; nothing else may run")
	flag.Float64Var(&o.rate, "rate", 40000, "packets a `second` for the cost of one; no server may be at its limit")
	flag.DurationVar(&o.probe, "probe", time.Second, "how long each probe sends")
	flag.BoolVar(&o.peak, "peak", true, "look for the most packets a second, too")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of the first relay at -rate to a `file`; give one row")
	flag.IntVar(&o.memory, "memory", 10000, "measure the memory of so many allocations, 0 for not at all; with all rows, or with -rows memory")
	flag.IntVar(&o.nice, "nice", -20, "priority of all that is measured, and of the generator")
	flag.IntVar(&o.relayCore, "relay-core", 0, "the `core` of the relay")
	flag.IntVar(&o.generatorCore, "generator-core", 1, "the `core` of the generator")
	flag.Parse()
	if quick {
		o.rounds = 1
		if rows == "" {
			rows = "/64$"
		}
	}
	if rows != "" && rows != "memory" {
		o.memory = 0
	}
	var err error
	if o.rows, err = regexp.Compile(rows); err != nil {
		err = fmt.Errorf("-rows: %w", err)
	}
	if err = errors.Join(err, o.list(only, bursts)); err != nil {
		fmt.Fprintln(os.Stderr, "benchrelay:", err)
		os.Exit(2)
	}
	return o
}

// list reads the lists of servers and of bursts.
func (o *options) list(only, bursts string) error {
	for _, name := range strings.Split(only, ",") {
		if !slices.Contains(names, name) {
			return fmt.Errorf("-only: %q is none of %s", name, strings.Join(names, ", "))
		}
		o.only = append(o.only, name)
	}
	for _, text := range strings.Split(bursts, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > atOnce {
			return fmt.Errorf("-burst: %q is not a number within 1 to %d", text, atOnce)
		}
		o.bursts = append(o.bursts, n)
	}
	return nil
}

// check says what is missing to run at all.
func (o *options) check() error {
	var errs []error
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("only root can make network namespaces; this is not root"))
	}
	if runtime.NumCPU() <= max(o.relayCore, o.generatorCore) {
		errs = append(errs, fmt.Errorf("cores %d and %d are wanted, one for the relay and one for the generator; there are %d", o.relayCore, o.generatorCore, runtime.NumCPU()))
	}
	if o.relayCore == o.generatorCore {
		errs = append(errs, errors.New("the relay and the generator need two cores"))
	}
	if _, err := exec.LookPath("ip"); err != nil {
		errs = append(errs, errors.New("the program ip is missing; Debian has it in iproute2"))
	}
	if _, err := exec.LookPath(o.switchboard); err != nil {
		errs = append(errs, fmt.Errorf("%w; make build builds it", err))
	}
	if o.rounds < 1 || o.rate < 1 || o.probe <= 0 || o.moderation < 0 {
		errs = append(errs, errors.New("-rounds, -rate and -probe must be positive, and -moderation not negative"))
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err == nil && uint64(o.memory)+200 > files.Max {
		errs = append(errs, fmt.Errorf("-memory %d: so many sockets are more than the limit of open files, %d", o.memory, files.Max))
	}
	return errors.Join(errs...)
}

// run measures what the options say, and prints it.
func run(ctx context.Context, o *options) error {
	if err := o.check(); err != nil {
		return err
	}
	if err := pinAll(o.generatorCore); err != nil {
		return err
	}
	if err := first(os.Getpid(), o.nice); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-relay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t, err := newTurn()
	if err != nil {
		return err
	}
	defer t.file.Close()
	var s *soak
	if o.soak {
		s = newSoak(o.relayCore)
		defer s.close()
	}
	families := []*family{ipv4}
	if o.ipv6 {
		families = append(families, ipv6)
	}
	var errs []error
	for _, f := range families {
		errs = append(errs, o.runFamily(ctx, f, dir, t, s))
	}
	return errors.Join(errs...)
}

// runFamily measures what the options say with one family of addresses.
func (o *options) runFamily(ctx context.Context, f *family, dir string, t turn, s *soak) error {
	wanted := slices.DeleteFunc(rows(f, o.bursts), func(r row) bool { return !o.rows.MatchString(r.String()) })
	memory := o.memory > 0 && f == ipv4
	if len(wanted) == 0 && !memory {
		return nil
	}
	servers, err := o.servers(f, dir)
	if err != nil {
		return err
	}
	var benches []*bench
	for _, server := range servers {
		b, err := newBench(o, f, server)
		if err != nil {
			return err
		}
		defer b.close()
		b.soak = s
		benches = append(benches, b)
	}
	describe(o, benches)
	if len(wanted) > 0 {
		for _, b := range benches {
			if err := b.server.start(ctx, b.cable); err != nil {
				return err
			}
			// As it is from the second round on: what one cable's looks cost depends on what
			// else wakes the core.
			if err := b.cable.moderate(o.moderation); err != nil {
				return err
			}
		}
		header(o)
		if err := measure(ctx, o, t, wanted, benches); err != nil {
			return err
		}
	}
	fmt.Printf("load average at the end %s\n", loadAverage())
	if !memory {
		return nil
	}
	return memories(ctx, o, benches)
}

// Names of what is measured.
const (
	kernelPath = "switchboard-ebpf"
	userPath   = "switchboard"
	coturn     = "turnserver"
	router     = "forward"
	translator = "forward-nat"
)

var names = []string{kernelPath, userPath, coturn, router, translator}

// servers are those that are measured.
func (o *options) servers(f *family, dir string) (all []*server, err error) {
	for _, name := range o.only {
		var s *server
		switch name {
		case kernelPath:
			s, err = switchboard(f, name, relay.DataPathEBPF, o.switchboard, dir)
		case userPath:
			s, err = switchboard(f, name, relay.DataPathUser, o.switchboard, dir)
		case coturn:
			path, e := exec.LookPath(o.turnserver)
			if e != nil {
				fmt.Println("coturn's turnserver is not installed (Debian: coturn): nothing is compared with it.")
				continue
			}
			s, err = turnserver(f, path, dir)
		case router:
			s = forwarding(f, name, "")
		case translator:
			nft, e := exec.LookPath("nft")
			if e != nil {
				fmt.Println("nft is not installed (Debian: nftables): forwarding with NAT is not measured.")
				continue
			}
			s = forwarding(f, name, nft)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("-only %s: no such server here", strings.Join(o.only, ","))
	}
	return all, nil
}
