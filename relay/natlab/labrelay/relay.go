package labrelay

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/relay"
	"switchboard/relay/natlab"
)

// The ports that a relay listens on.
const (
	Port    = 3478 // UDP and TCP
	TLSPort = 443
)

// Options say how a relay is to be. The zero value is one as in production, but for the
// lab's secret.
type Options struct {
	// Secrets are those of credentials; empty is [Secrets].
	Secrets []relay.Secret
	// Certificate is that of TLS; nil is one of the lab's own authority, for the host's name
	// and addresses.
	Certificate *tls.Certificate
	// Change may change the settings, after everything else.
	Change func(*relay.Config)
	// Log and Registerer and Registrar are as in [relay.Deps].
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Registrar  relay.Registrar
}

// Secrets are those of relays that are given none. Everybody knows them.
func Secrets() []relay.Secret {
	return []relay.Secret{{ID: "lab", Key: relay.Key("everybody knows this key of the NAT lab")}}
}

// Relay is a relay that serves on a host. Its methods may be called from any goroutine.
type Relay struct {
	// Static after Start.
	host   *natlab.Host
	server *relay.Server
	config relay.Config
	minter *relay.Minter
	cancel context.CancelFunc

	killed atomic.Bool
	done   chan struct{}
	err    error // of Serve, once done is closed
}

// peers are what stands for public addresses in a world: the internet, and the IPv6 of
// hosts behind routers.
var peers = []netip.Prefix{natlab.Internet4, natlab.Internet6, netip.MustParsePrefix("2001:db8::/32")}

// Config returns the settings with which a relay starts on a host. Its peers are what is
// public, and what stands for that in the lab; private and shared addresses are refused, as
// in production.
func Config(h *natlab.Host) relay.Config {
	c := relay.Default()
	c.Secrets = Secrets()
	c.Listen, c.TLS.Listen = fmt.Sprintf(":%d", Port), fmt.Sprintf(":%d", TLSPort)
	c.PublicAddresses = h.Addrs()
	c.Peers.Allow = slices.Clone(peers)
	return c
}

// Start starts a relay on a host of the internet, and returns when it serves. The caller
// must close it. It fails when the host is down, or has the ports in use.
func Start(h *natlab.Host, o Options) (*Relay, error) {
	c := Config(h)
	if len(o.Secrets) > 0 {
		c.Secrets = o.Secrets
	}
	if o.Change != nil {
		o.Change(&c)
	}
	minter, err := relay.NewMinter(c.Secrets, c.CredentialTTL)
	if err != nil {
		return nil, fmt.Errorf("labrelay: %w", err)
	}
	cert := o.Certificate
	if cert == nil {
		if cert, err = certificate(h.Name(), c.PublicAddresses); err != nil {
			return nil, fmt.Errorf("labrelay: %w", err)
		}
	}
	server, err := relay.New(c, relay.Deps{
		Log: o.Log, Registerer: o.Registerer, Registrar: o.Registrar, Network: h.Net(),
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil },
	})
	if err != nil {
		return nil, fmt.Errorf("labrelay: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Relay{host: h, server: server, config: c, minter: minter, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = server.Serve(ctx)
	}()
	select {
	case <-server.Started():
		return r, nil
	case <-r.done: // it could not listen
		cancel()
		return nil, fmt.Errorf("labrelay: %w", r.err)
	}
}

// Host is the host that the relay is on.
func (r *Relay) Host() *natlab.Host { return r.host }

// Server is the relay itself.
func (r *Relay) Server() *relay.Server { return r.server }

// Secrets are those of its credentials.
func (r *Relay) Secrets() []relay.Secret { return slices.Clone(r.config.Secrets) }

// URLs are those that an ICE agent on any host of the world is given (RFC 7064, RFC 7065):
// STUN, and TURN over UDP, TCP and TLS. They have the host's name, which leads to an
// address also where there is a NAT64.
func (r *Relay) URLs() []string {
	return append([]string{fmt.Sprintf("stun:%s:%d", r.host.Name(), Port)}, r.TURN("udp", "tcp", "tls")...)
}

// TURN are the URLs of some of udp, tcp and tls.
func (r *Relay) TURN(over ...string) []string {
	var urls []string
	for _, o := range over {
		switch o {
		case "udp", "tcp":
			urls = append(urls, fmt.Sprintf("turn:%s:%d?transport=%s", r.host.Name(), Port, o))
		case "tls":
			urls = append(urls, fmt.Sprintf("turns:%s:%d?transport=tcp", r.host.Name(), TLSPort))
		}
	}
	return urls
}

// Mint returns credentials for a user in a call that begins now.
func (r *Relay) Mint(call, user string) (username, password string, expires time.Time) {
	now := time.Now()
	return r.minter.Mint(call, user, now, now)
}

// Drain has the relay refuse new allocations, and end those without media, as
// [relay.Server.Drain] does.
func (r *Relay) Drain() { r.server.Drain() }

// Kill is a power cut: the host crashes, so that nobody is told anything, and the relay is
// gone when it returns. [natlab.Host.Start] and then [Start] put another one in its place.
func (r *Relay) Kill() {
	r.killed.Store(true)
	r.host.Crash()
	_ = r.Close()
}

// Close ends the relay and with it all allocations, and returns when nothing of it runs,
// with what was wrong with that. Further calls return the same. After Kill nothing is.
func (r *Relay) Close() error {
	r.cancel()
	<-r.done
	if r.err != nil && !r.killed.Load() { // its sockets were gone, as was wanted
		return fmt.Errorf("labrelay: %w", r.err)
	}
	return nil
}
