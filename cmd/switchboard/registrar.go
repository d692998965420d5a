package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"switchboard/cmd/internal/iceservers"
	"switchboard/directory"
	"switchboard/directory/natsnode"
	"switchboard/relay"
)

// registrar makes this process's relay known through NATS. It implements
// [relay.Registrar].
type registrar struct {
	name, region, zone string
	hosts              []string
	log                *slog.Logger
	known              prometheus.Gauge
	speaks             atomic.Bool // what known says
	// dial gives the connection, and what lets go of it.
	dial func(context.Context) (nc *nats.Conn, done func(), err error)
}

// newRegistrar returns what makes the relay known, or nil in a process that has no
// NATS: signaling nodes must then be told of the relay by their settings.
func (n *node) newRegistrar() *registrar {
	c := n.config
	r := &registrar{name: c.Node, region: c.Region, zone: c.Zone, hosts: relayHosts(c.ICE, c.Relay), log: n.log}
	r.known = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "switchboard_relay_known",
		Help: "Whether this relay can tell the signaling nodes of itself; while it cannot, only nodes whose settings name it send calls here.",
	})
	switch {
	case c.Has(RoleSignaling): // by the time that the relay runs, it is there
		r.dial = func(ctx context.Context) (*nats.Conn, func(), error) {
			select {
			case <-n.directory.Started(): // the process itself is to hear the first word
			case <-ctx.Done():
			}
			return n.nats.Conn(), func() {}, nil
		}
	case c.NATS.URL != "":
		r.dial = func(context.Context) (*nats.Conn, func(), error) {
			nc, err := natsnode.Dial(c.NATS, n.log)
			if err != nil {
				return nil, nil, err
			}
			return nc, nc.Close, nil
		}
	default:
		n.log.Info("nats.url is empty: signaling nodes hear of this relay by their ice.turn_urls alone")
		return nil
	}
	n.metrics.MustRegister(r.known)
	return r
}

// The time between attempts to reach NATS doubles from the first to the second.
const (
	natsAgain     = time.Second
	natsAgainMost = 15 * time.Second
)

// Run implements [relay.Registrar].
func (r *registrar) Run(ctx context.Context, status func() relay.Status, changed <-chan struct{}) {
	for wait := natsAgain; ; wait = min(2*wait, natsAgainMost) {
		nc, done, err := r.dial(ctx)
		if err == nil {
			defer done()
			r.hold(ctx, nc, status, changed)
			return
		}
		if ctx.Err() != nil {
			return
		}
		r.log.Warn("relay not made known; no calls are sent to it until it is", "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (r *registrar) hold(ctx context.Context, nc *nats.Conn, status func() relay.Status, changed <-chan struct{}) {
	beacon, err := directory.NewRelayBeacon(nc, r.name, r.log)
	if err != nil {
		r.log.Error("relay not made known", "error", err)
		return
	}
	beacon.OnKnown = func(known bool) {
		r.speaks.Store(known)
		r.known.Set(0)
		if known {
			r.known.Set(1)
		}
	}
	beacon.Run(ctx, func() directory.Relay {
		s := status()
		u := iceservers.URLsOf(r.hosts, s.Addrs)
		return directory.Relay{
			Region: r.region, Zone: r.zone, Version: codeVersion(),
			STUN: u.STUN, TURN: u.TURN, Allocations: s.Allocations, Max: s.Max, Draining: s.Draining,
		}
	}, changed)
}
