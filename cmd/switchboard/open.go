package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/cmd/internal/iceservers"
	"switchboard/directory"
	"switchboard/directory/natsnode"
	"switchboard/relay"
	"switchboard/signaling"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore"
	"switchboard/signaling/cdr"
	"switchboard/signaling/mailbox"
	"switchboard/signaling/protocol"
	"switchboard/signaling/web"
)

// open builds the parts that the roles ask for, in the order in which they
// start.
func (n *node) open(ctx context.Context) error {
	if n.config.Development {
		n.log.Warn("development settings: codes are not sent, the secret may be new, relays reach private addresses")
	}
	secrets, err := openSecrets(n.config)
	if err != nil {
		return err
	}
	n.relays, err = newRelays(n.config, secrets.relay)
	if err != nil {
		return err
	}
	if n.config.Has(RoleRelay) {
		if err := n.openRelay(secrets); err != nil {
			return err
		}
	}
	if n.config.Has(RoleSignaling) {
		if err := n.openSignaling(ctx, secrets); err != nil {
			return err
		}
	}
	return n.openRelayAdmin()
}

func (n *node) openRelay(s secrets) error {
	c := n.config.Relay
	c.Secrets = s.relay
	deps := relay.Deps{Log: n.log, Registerer: n.metrics}
	known := n.newRegistrar()
	if known != nil {
		deps.Registrar = known
	}
	r, err := relay.New(c, deps)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	n.relay = &relayControl{relay: r, registrar: known, name: n.config.Node, region: n.config.Region, ends: n.draining.Load}
	n.parts = append(n.parts, part{name: "relay", run: r.Serve, started: r.Started(), then: func() {
		n.relays.Own = iceservers.URLsOf(relayHosts(n.config.ICE, c), r.Addrs())
		n.addrs.Relay = relayAddrs(r.Addrs())
	}})
	n.health.require("relay", func() error {
		err := r.Ready()
		if errors.Is(err, relay.ErrDraining) && n.config.Has(RoleSignaling) {
			return nil // devices may come all the same, and get other relays
		}
		return err
	})
	n.atDrain = append(n.atDrain, ending{"relay", r.Shutdown})
	return nil
}

func (n *node) openSignaling(ctx context.Context, s secrets) error {
	geo, err := n.openGeoIP() // before anything that is only waited for
	if err != nil {
		return err
	}
	d, err := n.openStores(ctx, s)
	if err != nil {
		return err
	}
	registrar, err := n.openAuth(&d, s)
	if err != nil {
		return err
	}
	pushes, err := n.openPushes(ctx, &d, s)
	if err != nil {
		return err
	}
	guide := n.openRegions(d.directory, geo)
	deps := signaling.Deps{
		Numbers: d.directory, People: d.directory, Watcher: d.directory, Bindings: d.directory, Nodes: d.directory, Mailboxes: d.mailboxes, Records: d.calls,
		Auth: d.authenticator, Relays: n.relays, Regions: guide, Log: n.log, Registerer: n.metrics, Version: codeVersion(),
	}
	if pushes != nil {
		deps.Pushes = pushes
	}
	if d.cdr != nil {
		deps.Recorder = d.cdr
	}
	server, err := signaling.New(n.config.Signaling, deps)
	if err != nil {
		return err
	}
	d.directory.Answer(server.Answer)
	d.directory.OnLease(server.Regained)
	n.directory, n.relays.Known = d.directory, d.directory.Relays
	d.directory.OnRelay(func() {
		if n.relays.Changed() {
			server.LeaveRelays()
		}
	})
	d.authenticator.OnRemoved(func(ctx context.Context, a directory.Account, dev directory.Device) {
		server.Forget(ctx, a, dev)
		if err := d.mailboxes.Drop(ctx, mailbox.Box{Account: string(a), Device: uint32(dev)}); err != nil {
			n.log.Warn("mailbox of a removed device not emptied; its items end with their age", "error", err)
		}
	})
	d.authenticator.OnMoved(server.Renumbered)
	d.authenticator.OnDeleted(func(ctx context.Context, a directory.Account) error {
		return d.mailboxes.DropAccount(ctx, string(a))
	})
	n.parts = append(n.parts, part{name: "directory", run: d.directory.Run, started: d.directory.Started()})
	n.parts = append(n.parts, part{name: "idle devices", run: func(life context.Context) error {
		return d.authenticator.RunIdle(life, d.directory, n.log)
	}})
	n.parts = append(n.parts, part{name: "calls", run: server.Run})
	n.health.require("directory", d.directory.Ready)
	// Sessions go first: their calls need the relay until they have moved.
	n.atDrain = append([]ending{{"sessions", func(ctx context.Context) error {
		d.directory.SetDraining(true)
		return server.Shutdown(ctx)
	}}}, n.atDrain...)
	n.atFailure = append(n.atFailure, ending{"sessions", server.Abandon})
	n.openPublic(server, registrar)
	n.health.require("service", func() error {
		if server.Draining() {
			return errDrained
		}
		return nil
	})
	d.directory.OnLoad(func() (sessions, most int) { return server.Sessions(), n.config.Signaling.MaxSessions })
	server.OnDrain(func(on bool) {
		d.directory.SetDraining(on || n.draining.Load()) // a node that stops is not put back
		n.log.Info("an operator takes the node out of service, or puts it back", "out", on)
	})
	return n.openAdmin(&d, server, guide, pushes)
}

// stores are what signaling keeps its state in.
type stores struct {
	nats          *natsnode.Node
	directory     *directory.Directory
	mailboxes     *mailbox.Store
	calls, codes  *callstore.Store
	cdr           *cdr.Store // nil where none are kept
	authenticator *auth.Authenticator
}

func (n *node) openStores(ctx context.Context, s secrets) (stores, error) {
	nats, err := natsnode.Open(ctx, n.config.NATS, n.log)
	if err != nil {
		return stores{}, err
	}
	n.nats = nats
	n.closers = append(n.closers, nats.Close)
	n.health.require("nats", nats.Ready)

	d := stores{nats: nats}
	dc := n.config.Directory
	dc.Secret, dc.Node, dc.Region, dc.Replicas = s.master.Key(forNumbers), n.config.Node, n.config.Region, nats.Replicas()
	dc.URL, dc.Version = n.config.HTTP.PublicURL, codeVersion()
	mc, cc := n.config.Mailbox, n.config.Calls
	mc.Replicas, cc.Replicas = nats.Replicas(), nats.Replicas()
	oc := cc
	oc.Bucket = codesBucket
	for _, store := range []struct {
		what string
		open func() error
	}{
		{"directory", func() (err error) {
			d.directory, err = directory.Open(ctx, nats.Conn(), nats.JetStream(), dc, n.log)
			return err
		}},
		{"mailboxes", func() (err error) { d.mailboxes, err = mailbox.Open(ctx, nats.JetStream(), mc); return err }},
		{"records of calls", func() (err error) { d.calls, err = callstore.Open(ctx, nats.JetStream(), cc); return err }},
		{"records of codes", func() (err error) { d.codes, err = callstore.Open(ctx, nats.JetStream(), oc); return err }},
	} {
		if err := nats.Prepare(ctx, store.open); err != nil {
			return stores{}, fmt.Errorf("%s: %w", store.what, err)
		}
	}
	if rc := n.config.CDR; rc.On() {
		rc.Replicas = nats.Replicas()
		if err := nats.Prepare(ctx, func() (err error) { d.cdr, err = cdr.Open(ctx, rc, nats.JetStream()); return err }); err != nil {
			return stores{}, fmt.Errorf("call detail records: %w", err)
		}
		n.metrics.MustRegister(d.cdr)
	}
	n.metrics.MustRegister(d.directory, d.mailboxes)
	for bucket, store := range map[string]*callstore.Store{"calls": d.calls, "codes": d.codes} {
		prometheus.WrapRegistererWith(prometheus.Labels{"bucket": bucket}, n.metrics).MustRegister(store)
	}
	return d, nil
}

// codesBucket holds one-time codes while they are good.
const codesBucket = "CODES"

func (n *node) openAuth(d *stores, s secrets) (*auth.Registrar, error) {
	sender, err := n.openSender()
	if err != nil {
		return nil, err
	}
	keys, err := tokenKeys(n.config.Auth.TokenKeyFiles, s.master)
	if err != nil {
		return nil, err
	}
	d.authenticator, err = auth.NewAuthenticator(n.life, n.config.Auth, keys, d.directory)
	if err != nil {
		return nil, err
	}
	return auth.NewRegistrar(n.config.Auth, auth.Deps{
		Authenticator: d.authenticator, Records: d.codes, Sender: sender, Key: s.master.Key(forCodes),
		AllowedOrigins: n.config.Signaling.AllowedOrigins, Log: n.log, Registerer: n.metrics,
	})
}

// openSender returns what brings codes to people. In development they are
// written to a file as well as to the log, where programs find them.
func (n *node) openSender() (auth.Sender, error) {
	if n.config.Auth.Sender == "webhook" {
		secret, err := os.ReadFile(n.config.Auth.Webhook.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("auth.webhook.secret_file: %w", err)
		}
		return auth.NewWebhookSender(n.config.Auth.Webhook, secret)
	}
	sender := &auth.LogSender{Log: n.log}
	if !n.config.Development {
		return sender, nil
	}
	if err := os.MkdirAll(n.config.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	n.codesFile = filepath.Join(n.config.DataDir, "codes.log")
	f, err := os.OpenFile(n.codesFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	n.closers = append(n.closers, func(context.Context) error { return f.Close() })
	sender.To = f
	return sender, nil
}

// openPublic puts what the public may use behind the public listener.
func (n *node) openPublic(sessions, registration http.Handler) {
	mux := http.NewServeMux()
	mux.Handle(protocol.SocketPath, sessions)
	for _, path := range auth.Paths() {
		mux.Handle(path, registration)
	}
	mux.HandleFunc("GET "+protocol.PathPing, signaling.Ping)
	mux.HandleFunc("GET "+protocol.PathAsyncAPI, signaling.Describe)
	mux.Handle("/", web.Handler())
	n.health.mount(mux, false)
	s := httpServer(behindProxies(n.config.HTTP.TrustedProxies, mux), n.log)
	n.parts = append(n.parts, part{name: "public HTTP", run: func(life context.Context) error {
		return serveHTTP(life, s, n.publicLn)
	}})
	n.atDrain = append(n.atDrain, ending{"public HTTP", s.Shutdown})
}
