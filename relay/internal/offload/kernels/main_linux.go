// Kernels tries package offload on the kernels of Debian, as make bpf-kernels asks it to, and
// with it what of package relay the kernel here may not be able to do, which is VLANs.
//
// Each is booted in a virtual machine that QEMU emulates, whose whole disk is this program,
// the packages' tests and the kernel modules that they use. This program is the first process
// there, too: it starts the tests and tells on the serial console what they said.
//
// Packages are downloaded by apt, with a configuration of its own, and kept in a folder
// outside of the repository. Nothing is installed. Each kernel has a deadline.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if os.Getpid() == 1 {
		guest()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

// suites are those of Debian whose kernels are tried, from the oldest.
const suites = "bookworm,bookworm-backports,trixie,testing"

func run(ctx context.Context, args []string) error {
	cached, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet("kernels", flag.ContinueOnError)
	cache := flags.String("cache", filepath.Join(cached, "switchboard", "kernels"), "folder that packages are kept in")
	which := flags.String("suites", suites, "those of Debian whose kernels are tried")
	pattern := flags.String("run", ".", "tests of package offload to run, as go test -run has it")
	relayed := flags.String("relay", "^TestDataPathsAgree$/VLAN", "those of package relay")
	deadline := flags.Duration("deadline", 10*time.Minute, "how long one kernel may take")
	verbose := flags.Bool("v", false, "all that the machines print")
	if err := flags.Parse(args); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "kernels-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	all := []tests{
		{Name: "offload.test", Args: []string{"-test.run", *pattern}, program: "switchboard/relay/internal/offload"},
		{Name: "relay.test", Args: []string{"-test.run", *relayed}, program: "switchboard/relay"},
	}
	for i := range all {
		all[i].Args = append(all[i].Args, "-test.v", "-test.timeout", deadline.String())
		if err := all[i].build(ctx, work); err != nil {
			return err
		}
	}
	failed := 0
	for _, suite := range strings.Split(*which, ",") {
		k, err := fetch(ctx, filepath.Join(*cache, suite), suite)
		if err != nil {
			return fmt.Errorf("%s: %w", suite, err)
		}
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, *deadline)
		var said bytes.Buffer
		console := io.Writer(&said)
		if *verbose {
			console = io.MultiWriter(&said, os.Stdout)
		}
		err = boot(within, work, k, all, console)
		cancel()
		verdict := judge(said.Bytes(), err)
		if !verdict.passed {
			failed++
		}
		fmt.Printf("%-20s %-32s %s, %.0f s\n", suite, k.release, verdict, time.Since(began).Seconds())
		for _, line := range verdict.lines {
			fmt.Println("    " + line)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of the kernels did not do what they should", failed)
	}
	return nil
}

// tests are those of a package.
type tests struct {
	Name    string // of the program, in the virtual machine
	Args    []string
	program string // here; the package, until it is built
}

// build builds them for a machine that has nothing else.
func (t *tests) build(ctx context.Context, work string) error {
	to := filepath.Join(work, t.Name)
	c := exec.CommandContext(ctx, "go", "test", "-c", "-o", to, t.program)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tests of %s: %w: %s", t.program, err, out)
	}
	t.program = to
	return nil
}

// verdict is what came of one kernel.
type verdict struct {
	passed bool
	what   string
	lines  []string // what is to be known beside it
}

func (v verdict) String() string { return v.what }

func judge(said []byte, err error) verdict {
	var v verdict
	tests, failed, skipped, ended := 0, 0, 0, false
	for line := range bytes.Lines(said) {
		l := strings.TrimRight(string(line), "\r\n")
		s := strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "--- PASS"):
			tests++
		case strings.HasPrefix(s, "--- SKIP"):
			skipped++
			v.lines = append(v.lines, l)
		case strings.HasPrefix(s, "--- FAIL"):
			failed++
			v.lines = append(v.lines, l)
		case strings.Contains(l, toldMark):
			failed++ // such as that the tests crashed
			_, told, _ := strings.Cut(l, toldMark)
			v.lines = append(v.lines, told)
		case strings.Contains(l, endMark):
			ended = true
		case len(v.lines) < 60 && strings.Contains(l, "_test.go:"):
			v.lines = append(v.lines, s)
		}
	}
	switch {
	case !ended && err != nil:
		v.what = fmt.Sprintf("did not end: %v", err)
		v.lines = append(v.lines, tail(said)...)
	case !ended:
		v.what = "ended early"
		v.lines = append(v.lines, tail(said)...)
	case failed > 0 || tests == 0:
		v.what = fmt.Sprintf("%d tests passed, %d failed, %d skipped", tests, failed, skipped)
	default:
		v.passed = true
		v.what = fmt.Sprintf("%d tests passed, %d skipped", tests, skipped)
	}
	return v
}

// tail is the end of what a machine said.
func tail(said []byte) []string {
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	return lines[max(0, len(lines)-15):]
}
