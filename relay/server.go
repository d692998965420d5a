package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/relay/internal/datagram"
)

// Deps is what a relay is given beside its settings.
type Deps struct {
	// Log receives what an operator should know. Nil discards it.
	Log *slog.Logger
	// Registerer receives the metrics. Nil keeps them to the relay.
	Registerer prometheus.Registerer
	// Registrar makes the relay known. Without one, signaling must be told of it by
	// its settings.
	Registrar Registrar
	// Network is where the relay opens its sockets. Nil is this machine's network; on another
	// there is one listener, packets go one by one whatever the settings say, and there are
	// no metrics of the kernel.
	//
	// On a network in memory a relay keeps the time of the goroutines around it, and runs
	// in a bubble of testing/synctest when [New] and [Server.Serve] are both called there.
	Network Network
	// Certificate returns that of the TLS listener, as in [tls.Config.GetCertificate],
	// where it is in no files: the settings must have none then. Nil leaves it to them.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// Addrs are the addresses that a relay listens on, with their real ports. TLS
// is nil when there is no certificate.
type Addrs struct{ UDP, TCP, TLS net.Addr }

// Why a relay is not ready.
var (
	ErrNotServing = errors.New("relay: not serving")
	ErrDraining   = errors.New("relay: draining")
)

// Server is a TURN and STUN server. Its methods may be called from any
// goroutine.
type Server struct {
	// Static after New.
	config      Config
	log         *slog.Logger
	metrics     *metrics
	table       *table
	flows       *flows
	policy      *policy
	keys        *keyring
	guard       *guard
	generator   *generator
	connections *connections
	tls         *tls.Config // nil without a certificate
	started     chan struct{}
	registrar   Registrar // may be nil
	network     network
	offloader   *offloader
	changed     chan struct{} // holds one if the registrar has something to tell
	unusedFor   time.Duration
	lifetimes   lifetimes

	served     atomic.Bool
	ended      atomic.Bool
	drainBegan atomic.Int64  // when it last began to drain, in ns since 1970
	drained    chan struct{} // holds one when it has begun to

	drainMu sync.Mutex
	// Guarded by drainMu.
	shutdown bool // it drains for good

	addrs atomic.Pointer[Addrs]
}

// New returns a relay that [Server.Serve] will run. It reads the certificate
// and this machine's addresses, and fails when the settings cannot work: every
// wrong key is named.
func New(c Config, d Deps) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(c.Secrets) == 0 {
		return nil, errors.New("secrets: none; nobody could use this relay")
	}
	network := networkOf(d.Network)
	here, err := around(network)
	if err != nil {
		return nil, err
	}
	at, err := c.resolve(here)
	if err != nil {
		return nil, err
	}
	s := &Server{
		config: c, log: d.Log, metrics: newMetrics(), started: make(chan struct{}), registrar: d.Registrar, network: network,
		changed: make(chan struct{}, 1), drained: make(chan struct{}, 1), unusedFor: unusedFor, lifetimes: standardLifetimes,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	how := c.how()
	if d.Network == nil {
		s.metrics.addKernel()
	} else {
		how = datagram.OneByOne
	}
	s.build(at, how)
	s.policy.setOwn(here.own)
	if s.tls, err = s.tlsConfig(d.Certificate); err != nil {
		return nil, err
	}
	return s, s.metrics.register(d.Registerer)
}

func (s *Server) build(at addresses, how datagram.How) {
	c := s.config
	s.table = newTable(c.Quotas, c.Limits, s.metrics)
	s.metrics.allocationsMax.Set(float64(c.Quotas.Allocations))
	s.flows = newFlows(&s.metrics.flows)
	s.policy = newPolicy(c, at.all(), at.inUse)
	s.keys = &keyring{realm: c.Realm, secrets: c.Secrets, maxCall: c.MaxCall}
	s.connections = newConnections(c.Limits, s.metrics)
	s.generator = &generator{
		addresses: at, table: s.table, policy: s.policy, metrics: s.metrics, flows: s.flows,
		bandwidth: c.Bandwidth.PerAllocation, users: newUserMeters(c.Bandwidth.PerUser), all: newMeters(c.Bandwidth.Relay),
		how: how, network: s.network,
	}
	s.guard = &guard{
		realm: c.Realm, keys: s.keys, nonces: newNonces(c.Secrets), library: make(map[transport]*libraryNonce),
		table: s.table, policy: s.policy, addresses: at, alternates: newAlternates(c.AlternateServers),
		strangers: newStrangers(c.Limits, s.metrics), metrics: s.metrics,
	}
	for _, over := range transports {
		s.guard.library[over] = newLibraryNonce()
	}
	s.offloader = newOffloader(c, s.generator, s.log)
}

// Serve listens and relays until ctx ends, and then ends every allocation. It
// returns nil after that, and otherwise what kept it from listening. It can be
// called once.
func (s *Server) Serve(ctx context.Context) error {
	if s.served.Swap(true) {
		return errors.New("relay: served already")
	}
	l, err := s.listen()
	if err != nil {
		return err
	}
	fronts, err := s.open(l)
	if err != nil {
		return errors.Join(err, s.close(l, fronts))
	}
	if err := s.offloader.open(l); err != nil {
		return errors.Join(err, s.close(l, fronts))
	}
	s.announce(l)
	out := s.register(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { s.offloader.run(ctx) })
	watching.Go(func() { s.watchUnused(ctx) })
	s.watchAddresses(ctx)
	watching.Wait()
	s.ended.Store(true)
	<-out // nobody is sent here any more
	if err := s.close(l, fronts); err != nil {
		return err // something may still use what the kernel shares
	}
	return s.offloader.close()
}

func (s *Server) announce(l *listeners) {
	if s.config.Development {
		s.log.Warn("development: who has credentials reaches what listens on this machine and in its network; never let others use this relay")
	}
	addrs := l.addrs()
	s.addrs.Store(&addrs)
	var public, bound []netip.Addr
	for _, at := range s.generator.addresses.each() {
		public, bound = append(public, at.public), append(bound, at.bind)
	}
	s.log.Info("relay serves", "udp", addrs.UDP, "tcp", addrs.TCP, "tls", addrs.TLS, "public", public, "bound", bound,
		"ports", fmt.Sprintf("%d-%d", s.config.Ports.Min, s.config.Ports.Max),
		"listeners", len(l.udp), "packets", l.udp[0].socket.Describe())
	close(s.started)
}

// addressesEvery is how often this machine is asked what its addresses are.
const addressesEvery = time.Minute

// watchAddresses keeps the policy informed of this machine's addresses until
// ctx ends.
func (s *Server) watchAddresses(ctx context.Context) {
	t := time.NewTicker(addressesEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		own, err := s.network.addresses()
		if err != nil {
			s.log.Warn("own addresses unknown; the last known ones hold", "error", err)
			continue
		}
		s.policy.setOwn(own)
	}
}

// Started is closed when the relay listens.
func (s *Server) Started() <-chan struct{} { return s.started }

// Addrs returns what the relay listens on; nothing before it has started.
func (s *Server) Addrs() Addrs {
	if a := s.addrs.Load(); a != nil {
		return *a
	}
	return Addrs{}
}

// Allocations returns how many allocations exist.
func (s *Server) Allocations() int { return s.table.len() }

// Ready returns nil while the relay opens allocations, and otherwise
// [ErrNotServing] or [ErrDraining].
func (s *Server) Ready() error {
	switch {
	case s.addrs.Load() == nil || s.ended.Load():
		return ErrNotServing
	case s.table.draining.Load():
		return ErrDraining
	}
	return nil
}
