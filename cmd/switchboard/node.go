package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"switchboard/cmd/internal/iceservers"
	"switchboard/directory"
	"switchboard/directory/natsnode"
	"switchboard/signaling/admin"
)

// node is one running process.
type node struct {
	// Static after newNode.
	config  Config
	options Options
	log     *slog.Logger
	metrics *prometheus.Registry
	health  health

	// Owned by serve's goroutine.
	parts     []part                        // in the order in which they start
	atDrain   []ending                      // in order, when the process is asked to end
	atFailure []ending                      // in order, when a part has failed
	closers   []func(context.Context) error // last first
	publicLn  net.Listener                  // nil without the signaling role
	opsLn     net.Listener
	adminLn   net.Listener // nil where there is no admin API
	admin     *admin.API   // the same
	addrs     Addrs
	relays    *iceservers.List
	relay     *relayControl        // nil without the relay role
	nats      *natsnode.Node       // nil without the signaling role
	directory *directory.Directory // the same
	group     *errgroup.Group
	life      context.Context // ends when the process does, or when a part has failed
	codesFile string          // where one-time codes are written in development

	relayAdmin atomic.Pointer[http.Handler] // of ops.listen; nil until it is open, and where there is none

	serving  atomic.Bool // all has started
	draining atomic.Bool
}

// part is something that runs until the life of the process ends.
type part struct {
	name    string
	run     func(life context.Context) error
	started <-chan struct{} // closed when the next part may start; nil: at once
	then    func()          // called before that, if not nil
}

// ending is how a part lets go of those whom it serves.
type ending struct {
	part string
	end  func(context.Context) error
}

func newNode(c Config, o Options) *node {
	n := &node{config: c, options: o, log: newLogger(c.Log, o.LogTo), metrics: prometheus.NewRegistry()}
	n.metrics.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	n.health.require("process", func() error {
		switch {
		case n.draining.Load():
			return errDraining
		case !n.serving.Load():
			return errStarting
		}
		return nil
	})
	return n
}

// listen opens the listeners, first of all, so that an address in use is told
// before anything else is touched. What comes before the parts are ready waits
// in the kernel's queue.
func (n *node) listen() (err error) {
	if n.config.Has(RoleSignaling) {
		if n.publicLn, err = listenTLS("http", n.config.HTTP.Listen, n.config.HTTP.TLS); err != nil {
			return err
		}
		n.closers = append(n.closers, closed(n.publicLn))
		n.addrs.HTTP = n.publicLn.Addr().String()
		if err := n.listenAdmin(); err != nil {
			return err
		}
	}
	if n.opsLn, err = listen("ops.listen", n.config.Ops.Listen); err != nil {
		return err
	}
	n.closers = append(n.closers, closed(n.opsLn))
	n.addrs.Ops = n.opsLn.Addr().String()
	return nil
}

func closed(ln net.Listener) func(context.Context) error {
	return func(context.Context) error {
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// serveOps serves health, metrics and profiles to operators until life ends.
func (n *node) serveOps(life context.Context) error {
	mux := http.NewServeMux()
	n.health.mount(mux, true)
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.metrics, promhttp.HandlerOpts{Registry: n.metrics}))
	mux.HandleFunc(admin.Base+"/", n.serveRelayAdmin)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	s := httpServer(mux, n.log)
	s.WriteTimeout = 0 // a profile takes as long as it is asked to
	return serveHTTP(life, s, n.opsLn)
}
