// Localcluster runs three NATS servers and three signaling nodes on this
// machine until it is interrupted, and says what to try. "make cluster" starts
// it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"switchboard/cmd/switchboard/internal/fleet"
)

func main() {
	c := fleet.Config{Servers: 3, Nodes: 3}
	flag.StringVar(&c.NATS, "nats", "bin/nats-server", "NATS server, a `program`")
	flag.StringVar(&c.Switchboard, "switchboard", "bin/switchboard", "signaling node, a `program`")
	flag.StringVar(&c.Settings, "settings", "", "further settings of the nodes, as YAML")
	flag.Parse()
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "localcluster:", err)
		os.Exit(1)
	}
}

// run runs the installation in a folder of its own, which goes with it.
func run(c fleet.Config) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if c.Dir, err = os.MkdirTemp("", "switchboard-cluster-"); err != nil {
		return err
	}
	defer os.RemoveAll(c.Dir)
	log, err := os.Create(filepath.Join(c.Dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.Log = log
	fmt.Println("Three NATS servers and three nodes are starting …")
	f, err := fleet.Start(ctx, c)
	if err != nil {
		if text, e := os.ReadFile(log.Name()); e == nil {
			os.Stderr.Write(text)
		}
		return err
	}
	tell(f, log.Name())
	<-ctx.Done()
	fmt.Println("\nAll of it ends …")
	return f.Close()
}

const whatToTry = `
A cluster is ready, with development settings: not for use by others.

  In a browser    open %[1]s and %[2]s,
                  register a number in each, such as +1 415 555 0101 and +1 415 555 0102, and call.

  On terminals    bin/softphone -profile bob -server %[2]s register -code-file %[4]s +14155550102
                  bin/softphone -profile bob listen
                  bin/softphone -profile ann -server %[1]s register -code-file %[3]s +14155550101
                  bin/softphone -profile ann call +14155550102

  One-time codes  are sent to nobody: they stand in the codes.log of the node that was asked.

  As an operator  bin/switchboard admin nodes -addr %[5]s -token-file %[6]s
                  bin/switchboard admin lookup -addr %[5]s -token-file %[6]s +14155550102

  In its way      kill -9, or kill -STOP and -CONT, any one of these, even while they talk:
`

func tell(f *fleet.Fleet, log string) {
	a, b := f.Nodes[0], f.Nodes[1]
	fmt.Printf(whatToTry, page(a), page(b), a.Codes, b.Codes, a.Admin, a.AdminToken)
	for _, n := range f.Nodes {
		fmt.Printf("                  %-6s process %-7d %s\n", n.Name, n.PID(), page(n))
	}
	for i, url := range strings.Split(f.NATS, ",") {
		fmt.Printf("                  %-6s process %-7d %s\n", f.Servers[i].Name, f.Servers[i].PID(), url)
	}
	fmt.Printf("\n  The log         %s\n\n  Ctrl-C ends all and removes its data.\n\n", log)
}

// page is where a browser finds a node; only on localhost is a page given the
// microphone.
func page(n *fleet.Node) string { return strings.Replace(n.URL, "127.0.0.1", "localhost", 1) }
