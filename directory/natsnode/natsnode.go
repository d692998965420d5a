// Package natsnode gives the process its NATS: a server of its own, embedded,
// or a connection to a cluster. The rest of the program cannot tell which.
//
// The embedded server opens no port: it is reached inside the process. Its
// files lie under one directory, which it keeps for itself by a lock, and every
// write is synced before it is acknowledged, because NATS by default loses
// what it has acknowledged when the power fails.
package natsnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Node is the process's NATS. Its methods may be called concurrently.
type Node struct {
	config  Config
	log     *slog.Logger
	options []nats.Option
	inside  *embedded // nil with a cluster
	lock    *os.File  // held on Dir
	conn    *nats.Conn
	js      jetstream.JetStream
	close   func() error // once
}

// ErrInUse says that another process has the data directory.
var ErrInUse = errors.New("the data directory is in use by another process")

// Open starts the embedded server, or connects to the cluster, and returns
// when JetStream answers, or with ctx's error. What the cluster refuses is told
// with the key that it is for.
func Open(ctx context.Context, c Config, log *slog.Logger) (*Node, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	n := &Node{config: c, log: log}
	n.close = sync.OnceValue(n.end)
	opts := options(log)
	var err error
	if c.URL == "" {
		err = n.embed(c, &opts, log)
	} else if remote, bad := c.remote(); bad != nil {
		err = bad
	} else {
		opts = append(opts, remote...)
	}
	if err == nil {
		err = n.connect(ctx, opts)
	}
	if err != nil {
		return nil, errors.Join(err, n.Close(ctx))
	}
	return n, nil
}

// Dial connects to a cluster, or to a node that listens for relays, for what needs no
// JetStream. Whoever asks closes the connection.
func Dial(c Config, log *slog.Logger) (*nats.Conn, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	remote, err := c.remote()
	if err != nil {
		return nil, err
	}
	n := &Node{config: c, log: log, options: append(options(log), remote...)}
	return n.Connect()
}

// options are those of every connection.
func options(log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name("switchboard"), nats.MaxReconnects(-1), nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(500*time.Millisecond, time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("NATS is away", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("NATS is back") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("NATS", "error", err) }),
	}
}

func (n *Node) embed(c Config, opts *[]nats.Option, log *slog.Logger) error {
	if c.Dir == "" {
		return errors.New("nats: no directory for the embedded server")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	lock, err := lockDir(c.Dir)
	if err != nil {
		return err
	}
	n.lock = lock
	if Moved(c.Dir) {
		return fmt.Errorf("nats: %w; nats.url says which, in the settings of the nodes that use it; %s has more",
			ErrMoved, filepath.Join(c.Dir, movedFile))
	}
	o := serverOptions(c.Dir)
	var g *gate
	if c.Relays.Listen != "" {
		g = &gate{config: c.Relays}
		if err := g.open(o); err != nil {
			return err
		}
		*opts = append(*opts, nats.UserInfo(nodeUser, g.password))
	}
	if n.inside, err = embed(o, g, log); err != nil {
		return err
	}
	*opts = append(*opts, nats.InProcessServer(n.inside))
	if g != nil {
		log.Info("embedded NATS listens for relays", "at", n.inside.current().Addr(), "relays", len(o.Nkeys), "tls", o.TLSConfig != nil)
	}
	return nil
}

// RelaysAddr is where an embedded server listens for relays, nil where it does not.
func (n *Node) RelaysAddr() net.Addr {
	if n.inside == nil {
		return nil
	}
	return n.inside.current().Addr()
}

func serverOptions(dir string) *server.Options {
	return &server.Options{
		ServerName: "switchboard", DontListen: true, JetStream: true, StoreDir: dir,
		SyncAlways: true, NoSigs: true, JetStreamMaxMemory: 4 << 30, JetStreamMaxStore: 1 << 42,
	}
}

// lockDir keeps a second process from writing the same files.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("nats: %s: %w", dir, ErrInUse)
	}
	return f, nil
}

func (n *Node) connect(ctx context.Context, opts []nats.Option) error {
	n.options = opts
	var err error
	if n.conn, err = n.Connect(); err != nil {
		return err
	}
	if n.js, err = jetstream.New(n.conn); err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	n.js = n.config.place(n.js)
	return n.findJetStream(ctx)
}

// Connect makes another connection, for work that must not stand in line with
// the rest. Whoever asks closes it.
func (n *Node) Connect() (*nats.Conn, error) {
	nc, err := nats.Connect(n.config.URL, n.options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", n.config.refused(err))
	}
	return nc, nil
}

// Conn is the connection. It reconnects by itself.
func (n *Node) Conn() *nats.Conn { return n.conn }

// JetStream is the connection's JetStream.
func (n *Node) JetStream() jetstream.JetStream { return n.js }

// Embedded reports whether the server is part of the process.
func (n *Node) Embedded() bool { return n.config.URL == "" }

// Replicas is how many servers keep each record.
func (n *Node) Replicas() int {
	if n.Embedded() {
		return 1
	}
	return n.config.Replicas
}

// Ready tells why NATS cannot be used at the moment, or nil. An embedded server
// that has found its disk full is usable again soon after there is room.
func (n *Node) Ready() error {
	if st := n.conn.Status(); st != nats.CONNECTED {
		return fmt.Errorf("NATS is %s", st)
	}
	if n.inside != nil && !n.inside.healthy() {
		return errors.New("embedded NATS has given up its files: is the disk full? It is started anew once there is room")
	}
	return nil
}

// Close closes the connection and ends the embedded server. It returns when the
// files are written, whatever the context says. It may be called again.
func (n *Node) Close(context.Context) error { return n.close() }

func (n *Node) end() error {
	if n.conn != nil {
		n.conn.Close()
	}
	if n.inside != nil {
		n.inside.close()
	}
	if n.lock != nil {
		return n.lock.Close() // lets go of the lock
	}
	return nil
}
