package natsnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is a server inside the process. One that has found its disk full takes
// nothing more for as long as it runs; so it is started anew once there is room.
type embedded struct {
	// Static.
	gate    *gate // for relays; nil if there is none. Owned by watch.
	log     *slog.Logger
	stop    context.CancelFunc // ends watch
	watcher sync.WaitGroup

	mu      sync.Mutex
	options *server.Options
	server  *server.Server
}

const (
	// startWithin bounds how long the server may take to load its files.
	startWithin = time.Minute
	// lookEvery is how often the server's health is looked at; twice in a row it
	// must be bad.
	lookEvery = 2 * time.Second
	// room is how many bytes must fit on the disk again.
	room = 8 << 20
	// restartPause is how long after a start there is no other one.
	restartPause = 10 * time.Second
)

// embed starts a server on a directory, with a gate for relays or none, and watches
// over it until it is closed.
func embed(o *server.Options, g *gate, log *slog.Logger) (*embedded, error) {
	ctx, stop := context.WithCancel(context.Background())
	e := &embedded{options: o, gate: g, log: log, stop: stop}
	if err := e.start(); err != nil {
		e.close()
		return nil, err
	}
	e.watcher.Go(func() { e.watch(ctx) })
	return e, nil
}

// InProcessConn connects to the server that runs now.
func (e *embedded) InProcessConn() (net.Conn, error) { return e.current().InProcessConn() }

func (e *embedded) current() *server.Server {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.server
}

// start starts a server and returns when it can be used.
func (e *embedded) start() error {
	s, err := server.NewServer(e.settings())
	if err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	s.SetLoggerV2(serverLog{e.log}, false, false, false)
	e.mu.Lock()
	e.server = s
	e.mu.Unlock()
	go s.Start() // ends with Shutdown, which close waits for
	if !s.ReadyForConnections(startWithin) {
		return errors.New("embedded NATS: not ready in time")
	}
	return nil
}

// settings are a copy of those that the server has, or will have.
func (e *embedded) settings() *server.Options {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.options.Clone()
}

// admit has the gate opened to whom its file names now.
func (e *embedded) admit() {
	o := e.settings()
	err := e.gate.admit(o)
	if err == nil {
		e.mu.Lock()
		e.options = o
		e.mu.Unlock()
		err = e.current().ReloadOptions(o.Clone())
	}
	if err != nil {
		e.log.Warn("keys of relays not read again; those that were read before hold", "error", err)
		return
	}
	e.log.Info("keys of relays read again", "relays", len(o.Nkeys))
}

func (e *embedded) end() {
	if s := e.current(); s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

func (e *embedded) close() {
	e.stop()
	e.watcher.Wait()
	e.end()
}

// watch starts a server anew that has given up its files, once they can be written
// again.
func (e *embedded) watch(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	started, bad, dir := time.Now(), 0, e.settings().StoreDir
	for {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		if e.gate != nil && e.gate.stale() {
			e.admit()
		}
		if e.healthy() {
			bad = 0
			continue
		}
		if bad++; bad == 1 {
			e.log.Error("embedded NATS has given up its files; it is started anew once there is room on the disk")
		}
		if bad < 2 || time.Since(started) < restartPause || !hasRoom(dir) {
			continue
		}
		e.end()
		started, bad = time.Now(), 0
		if err := e.start(); err != nil {
			e.log.Error("embedded NATS is not started anew", "error", err)
			continue
		}
		e.log.Warn("embedded NATS was started anew: there is room on the disk again")
	}
}

// hasRoom reports whether something can be written to a directory, and synced.
func hasRoom(dir string) bool {
	name := filepath.Join(dir, "room")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return false
	}
	_, err = f.Write(make([]byte, room))
	err = errors.Join(err, f.Sync(), f.Close(), os.Remove(name))
	return err == nil
}

// healthy asks the server as operators ask those of a cluster: it tells of a stream
// that could not be written, too, and takes nothing more.
func (e *embedded) healthy() bool {
	r, err := http.NewRequest(http.MethodGet, server.HealthzPath, nil)
	if err != nil {
		return false
	}
	a := answer{header: http.Header{}, status: http.StatusOK}
	e.current().HandleHealthz(&a, r)
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
