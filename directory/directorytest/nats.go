package directorytest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/directory/natsnode"
)

// NATS starts an embedded server whose files are gone with the test.
func NATS(tb testing.TB) *natsnode.Node {
	tb.Helper()
	return NATSIn(tb, tb.TempDir())
}

// NATSIn starts an embedded server on files that outlive it, for tests of
// restarts. It is closed with the test, if that has not been done before.
func NATSIn(tb testing.TB, dir string) *natsnode.Node {
	tb.Helper()
	c := natsnode.Default()
	c.Dir = dir
	n, err := natsnode.Open(tb.Context(), c, Log())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { n.Close(context.Background()) })
	return n
}

// Open opens a directory of one node on NATS and runs it until the test ends.
// configure may be nil.
func Open(tb testing.TB, n *natsnode.Node, name string, configure func(*directory.Config)) *directory.Directory {
	tb.Helper()
	return OpenWith(tb, n, name, configure, nil)
}

// OpenWith is [Open] with a handler for the requests of other nodes.
func OpenWith(tb testing.TB, n *natsnode.Node, name string, configure func(*directory.Config), answer func(context.Context, directory.Request) ([]byte, error)) *directory.Directory {
	tb.Helper()
	d := OpenOnly(tb, n, name, configure)
	d.Answer(answer)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("directory ended: %v", err)
		}
	})
	select {
	case <-d.Started():
	case err := <-ended:
		ended <- nil
		tb.Fatalf("directory did not start: %v", err)
	case <-time.After(time.Minute):
		tb.Fatal("directory did not start in a minute")
	}
	return d
}

// OpenOnly opens a directory without running it.
func OpenOnly(tb testing.TB, n *natsnode.Node, name string, configure func(*directory.Config)) *directory.Directory {
	tb.Helper()
	return OpenOn(tb, n, n.Conn(), name, configure)
}

// OpenOn is [OpenOnly] on a connection of its own, which can be cut.
func OpenOn(tb testing.TB, n *natsnode.Node, nc *nats.Conn, name string, configure func(*directory.Config)) *directory.Directory {
	tb.Helper()
	c := directory.Default()
	c.Secret, c.Node, c.Region, c.Replicas = []byte("0123456789abcdef"), name, "test", n.Replicas()
	if configure != nil {
		configure(&c)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	d, err := directory.Open(tb.Context(), nc, js, c, Log())
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// NATSConn returns another connection to the server, which the test closes.
func NATSConn(tb testing.TB, n *natsnode.Node) *nats.Conn {
	tb.Helper()
	nc, err := n.Connect()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// Log discards what it is given.
func Log() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// Number is a number that may be used in examples, one for each i from 0 to 99.
func Number(tb testing.TB, i int) e164.Number {
	tb.Helper()
	n, err := e164.Parse(fmt.Sprintf("+1415555%04d", 100+i), "")
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
