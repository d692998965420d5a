package browserphone

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Command runs the program with its arguments, without its name, and returns the exit
// code, one of the Code constants. ctx should end with SIGTERM and SIGINT.
func Command(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	o, err := parse(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return CodeOK
	}
	lines := NewLines(out)
	if err == nil {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			watchParent(ctx, cancel)
		}()
		err = Run(ctx, o, read(ctx, in), lines)
		cancel()
		<-watched
	}
	f := orFailure(err)
	if f == nil {
		return CodeOK
	}
	lines.print(Line{Failure: f})
	fmt.Fprintln(errs, "browser-phone:", f.Text)
	return f.Code
}

// parse reads the arguments.
func parse(args []string, errs io.Writer) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("browser-phone", flag.ContinueOnError)
	fs.SetOutput(errs)
	list := func(into *[]string) func(string) error {
		return func(s string) error {
			for part := range strings.SplitSeq(s, ",") {
				if part = strings.TrimSpace(part); part != "" {
					*into = append(*into, part)
				}
			}
			return nil
		}
	}
	fs.Func("server", "`URL` of a node, as https://node-1, or of several with commas between", list(&o.Servers))
	fs.StringVar(&o.Number, "number", "", "the `number` to register")
	fs.StringVar(&o.CodeFile, "code-file", "", "the `file` into which a development server writes codes")
	fs.StringVar(&o.Profile, "profile", "", "the `file` of a device that softphone has registered, instead")
	fs.StringVar(&o.Device, "device", "", "what to call the device")
	fs.StringVar(&o.Call, "call", "", "the `number` to call")
	fs.BoolVar(&o.Answer, "answer", false, "wait for a call and answer it")
	fs.BoolVar(&o.RelayOnly, "relay-only", false, "use no path but through a relay")
	fs.StringVar(&o.Transport, "transport", "", "reach relays by udp, tcp or tls alone")
	fs.Func("spki", "`hashes` of keys whose certificates are trusted: SHA-256 of the SubjectPublicKeyInfo in base64, with commas between", list(&o.SPKI))
	fs.Func("trust", "PEM `files` of certificates whose keys are trusted, with commas between; of an authority, where servers send its certificate, too", list(&o.Trust))
	fs.Func("allow", "`names` that may be resolved beside those of the hosts file, with commas between; * stands for any characters", list(&o.Allow))
	fs.BoolVar(&o.Loopback, "loopback", false, "use loopback's addresses, too")
	fs.Func("picture", "`WIDTHxHEIGHT@RATE` of the false camera's picture; default 320x240@15", func(s string) error {
		_, err := fmt.Sscanf(s, "%dx%d@%d", &o.Width, &o.Height, &o.Rate)
		return err
	})
	fs.DurationVar(&o.Start, "start", 90*time.Second, "how long it may take until the session is there")
	fs.DurationVar(&o.Ring, "ring", 60*time.Second, "how long it may take from then until media is there")
	fs.DurationVar(&o.Talk, "talk", 0, "hang up this long after media is there; 0 waits for the line hangup on standard input")
	fs.StringVar(&o.Dir, "dir", "", "where to make the `folder` of the browser's profile, which is removed")
	fs.Func("flag", "another `NAME[=VALUE]` for Chromium; may be given several times", func(s string) error {
		o.Flags = append(o.Flags, s)
		return nil
	})
	fs.StringVar(&o.Chromium, "chromium", "", "the `program`, instead of looking for it")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, failure(CodeUsage, "%v", err)
	}
	if fs.NArg() > 0 {
		return o, failure(CodeUsage, "it takes flags alone, and not %q", fs.Arg(0))
	}
	return o, nil
}

// read reads orders until ctx ends. The goroutine ends with the input or, where that does
// not end, with the program. An input that ends is no order.
func read(ctx context.Context, in io.Reader) <-chan Order {
	orders := make(chan Order)
	go func() {
		defer close(orders)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case orders <- Order(strings.TrimSpace(s.Text())):
			case <-ctx.Done():
				return
			}
		}
	}()
	return orders
}

// watchParent cancels when the process that started this one has ended. The kernel could
// send a signal then, but does so already when the thread ends that started it, as one
// does that was in another network namespace.
func watchParent(ctx context.Context, cancel func()) {
	parent := os.Getppid()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if os.Getppid() != parent {
				cancel()
				return
			}
		}
	}
}
