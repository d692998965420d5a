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
	"net/http"
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
	options []nats.Option
	server  *server.Server // nil with a cluster
	lock    *os.File       // held on Dir
	conn    *nats.Conn
	js      jetstream.JetStream
	close   func() error // once
}

// ErrInUse says that another process has the data directory.
var ErrInUse = errors.New("the data directory is in use by another process")

// startWithin bounds how long the embedded server may take to load its files.
const startWithin = time.Minute

// Open starts the embedded server, or connects to the cluster, and returns
// when JetStream answers, or with ctx's error. What the cluster refuses is told
// with the key that it is for.
func Open(ctx context.Context, c Config, log *slog.Logger) (*Node, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	n := &Node{config: c}
	n.close = sync.OnceValue(n.end)
	opts := []nats.Option{
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
	if n.server, err = startServer(serverOptions(c.Dir), log); err != nil {
		return err
	}
	*opts = append(*opts, nats.InProcessServer(n.server))
	return nil
}

func serverOptions(dir string) *server.Options {
	return &server.Options{
		ServerName: "switchboard", DontListen: true, JetStream: true, StoreDir: dir,
		SyncAlways: true, NoSigs: true, JetStreamMaxMemory: 4 << 30, JetStreamMaxStore: 1 << 42,
	}
}

// startServer starts an embedded server and returns when it can be used. Even
// with an error, one that is not nil has been started.
func startServer(o *server.Options, log *slog.Logger) (*server.Server, error) {
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	s.SetLoggerV2(serverLog{log}, false, false, false)
	go s.Start() // ends with Shutdown, which Close waits for
	if !s.ReadyForConnections(startWithin) {
		return s, errors.New("embedded NATS: not ready in time")
	}
	return s, nil
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

// Ready tells why NATS cannot be used at the moment, or nil. An embedded
// server that found its disk full stays unusable until the process starts anew.
func (n *Node) Ready() error {
	if st := n.conn.Status(); st != nats.CONNECTED {
		return fmt.Errorf("NATS is %s", st)
	}
	if n.server != nil && !healthy(n.server) {
		return errors.New("embedded NATS has given up its files: is the disk full? Once there is room, start this process anew")
	}
	return nil
}

// healthy asks an embedded server as operators ask those of a cluster: it tells of
// a stream that could not be written, too, and takes nothing more.
func healthy(s *server.Server) bool {
	r, err := http.NewRequest(http.MethodGet, server.HealthzPath, nil)
	if err != nil {
		return false
	}
	a := answer{header: http.Header{}, status: http.StatusOK}
	s.HandleHealthz(&a, r)
	return a.status == http.StatusOK
}

// answer is the status of one.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(b []byte) (int, error) { return len(b), nil }
func (a *answer) WriteHeader(status int)      { a.status = status }

// Close closes the connection and ends the embedded server. It returns when the
// files are written, whatever the context says. It may be called again.
func (n *Node) Close(context.Context) error { return n.close() }

func (n *Node) end() error {
	if n.conn != nil {
		n.conn.Close()
	}
	if n.server != nil {
		n.server.Shutdown()
		n.server.WaitForShutdown()
	}
	if n.lock != nil {
		return n.lock.Close() // lets go of the lock
	}
	return nil
}

// serverLog passes the embedded server's log on.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(format string, v ...any) {
	l.log.Debug("NATS", "says", fmt.Sprintf(format, v...))
}
func (l serverLog) Warnf(format string, v ...any) {
	l.log.Debug("NATS", "warns", fmt.Sprintf(format, v...))
}
func (l serverLog) Fatalf(format string, v ...any) {
	l.log.Error("NATS", "fails", fmt.Sprintf(format, v...))
}
func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error("NATS", "fails", fmt.Sprintf(format, v...))
}
func (l serverLog) Debugf(string, ...any) {}
func (l serverLog) Tracef(string, ...any) {}
