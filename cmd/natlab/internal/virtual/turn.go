package virtual

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"switchboard/relay"
	"switchboard/relay/natlab"
)

// turn is a relay on a host: the real one, with the settings of a public relay, save that
// the lab's internet counts as public.
type turn struct {
	name   string
	host   *natlab.Host
	server *relay.Server
	cancel context.CancelFunc
	ended  sync.WaitGroup
	err    error // why it ended; after ended
}

// relayConfig is that of a lab's relay with addresses. Its own may be reached as peers, too:
// the other side's allocation is there.
func relayConfig(secret relay.Secret) relay.Config {
	c := relay.Default()
	c.Realm = "natlab"
	c.Secrets = []relay.Secret{secret}
	c.Listen = ":3478"
	c.TLS.Listen = ":443"
	c.Peers.Allow = []netip.Prefix{natlab.Internet4, natlab.Internet6}
	return c
}

// startRelay starts a relay, and returns once it serves.
func startRelay(ctx context.Context, host *natlab.Host, region string, s *stores, secret relay.Secret, cert tls.Certificate, log *slog.Logger) (*turn, error) {
	c := relayConfig(secret)
	for _, a := range host.Addrs() {
		c.PublicAddresses = append(c.PublicAddresses, a)
	}
	server, err := relay.New(c, relay.Deps{
		Log: log.With("relay", host.Name()), Network: host.Net(), Registrar: s.roster.registrar(host.Name(), region),
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
	})
	if err != nil {
		return nil, fmt.Errorf("relay %s: %w", host.Name(), err)
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &turn{name: host.Name(), host: host, server: server, cancel: cancel}
	failed := make(chan struct{})
	t.ended.Go(func() {
		defer close(failed)
		t.err = server.Serve(ctx)
	})
	select {
	case <-server.Started():
		return t, nil
	case <-failed:
		cancel()
		return nil, fmt.Errorf("relay %s: %w", host.Name(), t.err)
	}
}

// kill ends the relay as a power cut does.
func (t *turn) kill(r *roster) {
	r.silence(t.name)
	t.host.Crash()
	t.cancel()
	t.ended.Wait()
}

// stop ends it when the call is over.
func (t *turn) stop() error {
	t.cancel()
	t.ended.Wait()
	return t.err
}
