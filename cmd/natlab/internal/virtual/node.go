package virtual

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"switchboard/cmd/internal/iceservers"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
	"switchboard/relay"
	"switchboard/relay/natlab"
	"switchboard/signaling"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/mailbox/mailboxtest"
	"switchboard/signaling/protocol"
)

// stores are what nodes share: the fakes that stand in for NATS, which has goroutines
// outside of any bubble. They pass the contracts of the real ones.
type stores struct {
	directory *directorytest.World
	mailboxes *mailboxtest.Fake
	records   *callstoretest.Fake
	roster    *roster
	tokens    tokens
	minter    *relay.Minter
}

func newStores(secrets []relay.Secret) (*stores, error) {
	m, err := relay.NewMinter(secrets, time.Hour)
	if err != nil {
		return nil, err
	}
	return &stores{
		directory: directorytest.NewWorld(), mailboxes: mailboxtest.New(), records: callstoretest.New(),
		roster: newRoster(), tokens: tokens{}, minter: m,
	}, nil
}

// tokens knows whose the phones' tokens are. It is complete before a phone connects.
type tokens map[string]auth.Identity

// Authenticate implements [signaling.Authenticator].
func (t tokens) Authenticate(_ context.Context, token string) (auth.Identity, error) {
	if id, ok := t[token]; ok {
		return id, nil
	}
	return auth.Identity{}, protocol.NewError(protocol.CodeToken, "no such token")
}

// register makes an account with one device, and returns its token.
func (s *stores) register(ctx context.Context, number e164.Number) (string, error) {
	d := s.directory.Node("registrar")
	acct, err := d.Register(ctx, number)
	if err != nil {
		return "", err
	}
	dev, err := d.AddDevice(ctx, acct.Account, "phone", "")
	if err != nil {
		return "", err
	}
	token := fmt.Sprintf("token-%s-%d", acct.Account, dev.Device)
	s.tokens[token] = auth.Identity{Account: acct.Account, Device: dev.Device, Number: number}
	return token, nil
}

// node is a signaling node on a host.
type node struct {
	host   *natlab.Host
	view   *directorytest.Fake
	server *signaling.Server
	http   *http.Server
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// startNode starts the real signaling server on a host, at port 443 with TLS.
func startNode(ctx context.Context, host *natlab.Host, s *stores, cert tls.Certificate, log *slog.Logger) (*node, error) {
	view := s.directory.Node(host.Name())
	servers := &iceservers.List{Region: "lab", Minter: s.minter, Known: s.roster.known}
	server, err := signaling.New(signaling.Default(), signaling.Deps{
		Numbers: view, People: view, Watcher: view, Bindings: view, Nodes: view, Mailboxes: s.mailboxes, Records: s.records,
		Auth: s.tokens, Relays: servers, Log: log.With("node", host.Name()), Version: "natlab",
	})
	if err != nil {
		return nil, err
	}
	view.Answer(server.Answer)
	view.OnLease(server.Regained)
	l, err := host.Listen("tcp", ":443")
	if err != nil {
		return nil, err
	}
	s.roster.onChange(func() {
		if servers.Changed() {
			server.LeaveRelays()
		}
	})
	servers.Changed()
	ctx, cancel := context.WithCancel(ctx)
	n := &node{host: host, view: view, server: server, http: &http.Server{Handler: server, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}, cancel: cancel}
	n.tasks.Go(func() { _ = server.Run(ctx) })
	n.tasks.Go(func() {
		if err := n.http.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})); !errors.Is(err, http.ErrServerClosed) {
			log.Error("node no longer listens", "node", host.Name(), "error", err)
		}
	})
	return n, nil
}

// stopWithin bounds the end of a server, in virtual time.
const stopWithin = time.Minute

// kill ends the node as a power cut does: it says nothing to anybody.
func (n *node) kill() {
	n.view.Die()
	n.host.Crash()
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	_ = n.server.Abandon(ctx) // nobody hears it
	n.end()
}

// drain takes the node out of service, as an operator does; its calls go on.
func (n *node) drain() {
	n.view.SetDraining(true)
	n.server.Drain()
}

// undrain puts it back.
func (n *node) undrain() {
	n.server.Undrain()
	n.view.SetDraining(false)
}

// stop ends the node when the call is over.
func (n *node) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	err := n.server.Shutdown(ctx)
	n.end()
	return err
}

func (n *node) end() {
	n.cancel()
	_ = n.http.Close()
	n.tasks.Wait()
}
