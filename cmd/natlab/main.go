// Command natlab places real calls through the real signaling server and relays,
// between phones behind every kind of NAT, and says which path they took, whether that is
// what theory expects, and why. README.md is the guide.
//
// Here are the words of the command line alone. The internal packages are what it is put
// together from: scenario reads what is to be placed, theory expects, an engine places it,
// verdict compares, report tells.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"switchboard/cmd/natlab/internal/browserphone"
)

// browserPhone is the command by which the kernel engine starts this program in a phone's
// network namespace, where it has Chromium make the call.
const browserPhone = "browser-phone"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second one ends the program at once
	if len(os.Args) > 1 && os.Args[1] == browserPhone {
		os.Exit(browserphone.Command(ctx, os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	p := &program{
		stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(), now: time.Now,
		width: terminalWidth, engines: engines, clean: clean, doctor: doctor,
	}
	os.Exit(p.run(ctx, os.Args[1:]))
}
