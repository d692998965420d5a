package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"time"

	"switchboard/signaling/admin"
)

// errAllocationsLeft says that a relay was not empty when the time to wait was over.
var errAllocationsLeft = errors.New("it goes on draining")

// relayFlags are those of the commands that ask the relay of a process.
func (p program) relayFlags(name string) *adminFlags {
	f := p.askFlags(name, "switchboard help")
	f.listen = "ops.listen"
	return f
}

// noArguments reads args, which must be flags alone.
func (f *adminFlags) noArguments(args []string) error {
	_, err := f.parse(args)
	return forAll(err)
}

// forAll has -h print the help of all commands, in which those that ask a relay are.
func forAll(err error) error {
	if errors.Is(err, errAdminHelp) {
		return flag.ErrHelp
	}
	return err
}

// relayServer is where the process that the settings are of answers for its relay.
func (f *adminFlags) relayServer(c Config) (base string, trust *tls.Config, err error) {
	if base, trust, err = f.given(); base != "" || err != nil {
		return base, trust, err
	}
	return "http://" + reachable(c.Ops.Listen), trust, nil
}

// drainEvery is how often a relay that drains is asked how far it is.
const drainEvery = time.Second

func (p program) drainRelay(ctx context.Context, args []string) error {
	f := p.relayFlags("drain")
	wait := f.Bool("wait", false, "until no allocation is left")
	deadline := f.Duration("deadline", 0, "how long to wait; 0 is drain_deadline of the settings")
	if err := f.noArguments(args); err != nil {
		return err
	}
	if *deadline < 0 || *deadline > 0 && !*wait {
		return f.usage("-deadline: goes with -wait, and is not negative")
	}
	c, err := f.clientAt(p, func(c Config) (string, *tls.Config, error) {
		if *deadline == 0 {
			*deadline = c.DrainDeadline
		}
		return f.relayServer(c)
	})
	if err != nil {
		return err
	}
	s, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.RelayState, error) { return c.DrainRelay(ctx, true) })
	if err != nil {
		return err
	}
	if !*f.json {
		fmt.Fprintf(p.stdout, "relay %s is out of service: no call is given it, and those on it are asked to leave; switchboard undrain puts it back\n", s.Name)
		printLeft(p, s)
	}
	if *wait {
		s, err = p.untilRelayEmpty(ctx, f, c, s, *deadline)
	}
	if *f.json {
		return errors.Join(p.printJSON(s), err)
	}
	return err
}

func printLeft(p program, s admin.RelayState) {
	switch s.Allocations {
	case 0:
		fmt.Fprintln(p.stdout, "no allocations left")
	case 1:
		fmt.Fprintln(p.stdout, "1 allocation left")
	default:
		fmt.Fprintf(p.stdout, "%d allocations left\n", s.Allocations)
	}
}

// untilRelayEmpty waits until a relay that drains has no allocation, and tells whenever
// their number has changed.
func (p program) untilRelayEmpty(ctx context.Context, f *adminFlags, c *admin.Client, s admin.RelayState, wait time.Duration) (admin.RelayState, error) {
	over := time.After(wait)
	again := time.NewTicker(drainEvery)
	defer again.Stop()
	for s.Allocations > 0 {
		select {
		case <-again.C:
		case <-over:
			return s, fmt.Errorf("relay %s has %d allocations after %v: %w", s.Name, s.Allocations, wait, errAllocationsLeft)
		case <-ctx.Done():
			return s, fmt.Errorf("relay %s: not waited for: %w", s.Name, errors.Join(context.Cause(ctx), errAllocationsLeft))
		}
		now, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.RelayState, error) { return c.RelayState(ctx) })
		if err != nil {
			return s, err
		}
		if !now.Draining {
			return now, fmt.Errorf("relay %s was put back into service meanwhile", now.Name)
		}
		if now.Allocations != s.Allocations && !*f.json {
			printLeft(p, now)
		}
		s = now
	}
	return s, nil
}

func (p program) resumeRelay(ctx context.Context, args []string) error {
	f := p.relayFlags("undrain")
	if err := f.noArguments(args); err != nil {
		return err
	}
	c, err := f.clientAt(p, f.relayServer)
	if err != nil {
		return err
	}
	s, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.RelayState, error) { return c.DrainRelay(ctx, false) })
	if err != nil || *f.json {
		return p.orJSON(s, err)
	}
	_, err = fmt.Fprintf(p.stdout, "relay %s is in service\n", s.Name)
	return err
}
