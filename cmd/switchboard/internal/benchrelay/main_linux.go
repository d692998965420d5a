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
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	switchboard, turnserver  string
	only                     string
	rows                     *regexp.Regexp
	rounds, burst, nice      int
	rate                     float64
	probe                    time.Duration
	peak                     bool
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
	var rows string
	var quick bool
	flag.StringVar(&o.switchboard, "switchboard", "bin/switchboard", "this project's relay, a `program`")
	flag.StringVar(&o.turnserver, "turnserver", "turnserver", "coturn's, a `program`; compared with where it is installed")
	flag.StringVar(&o.only, "only", "", "measure one `server`: switchboard or turnserver")
	flag.StringVar(&rows, "rows", "", "measure rows whose name matches a `regexp`, such as '^up/172/64$'")
	flag.BoolVar(&quick, "quick", false, "one round, rows with 64 allocations")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds, whose medians are printed")
	flag.IntVar(&o.burst, "burst", 4, "packets in a row for one allocation")
	flag.Float64Var(&o.rate, "rate", 30000, "packets a `second` for the cost of one; no server may be at its limit")
	flag.DurationVar(&o.probe, "probe", time.Second, "how long each probe sends")
	flag.BoolVar(&o.peak, "peak", true, "look for the most packets a second, too")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of switchboard at -rate to a `file`; give one row")
	flag.IntVar(&o.memory, "memory", 10000, "measure the memory of so many allocations, 0 for not at all; only when all rows are")
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
	if rows != "" {
		o.memory = 0
	}
	var err error
	if o.rows, err = regexp.Compile(rows); err != nil {
		fmt.Fprintln(os.Stderr, "benchrelay: -rows:", err)
		os.Exit(2)
	}
	return o
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
	if o.rounds < 1 || o.burst < 1 || o.burst > atOnce || o.rate < 1 || o.probe <= 0 {
		errs = append(errs, fmt.Errorf("-rounds, -rate and -probe must be positive, -burst within 1 to %d", atOnce))
	}
	return errors.Join(errs...)
}

// run measures what the options say, and prints it.
func run(ctx context.Context, o *options) error {
	if err := o.check(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-relay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	servers, err := o.servers(dir)
	if err != nil {
		return err
	}
	describe(o, servers)
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer b.close()
	return b.measure(ctx, o, servers)
}

// servers are those that are measured.
func (o *options) servers(dir string) ([]*server, error) {
	var all []*server
	if o.only == "" || o.only == "switchboard" {
		s, err := switchboard(o.switchboard, dir)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if path, err := exec.LookPath(o.turnserver); err != nil {
		fmt.Println("coturn's turnserver is not installed: nothing is compared.")
	} else if o.only == "" || o.only == "turnserver" {
		s, err := turnserver(path, dir)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("-only %s: no such server here", o.only)
	}
	return all, nil
}
