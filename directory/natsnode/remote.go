package natsnode

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// remote are the options for a cluster. The files are read here once to tell
// what is wrong with them; credentials and certificates are read again at each
// reconnect, so that they can be renewed.
func (c Config) remote() ([]nats.Option, error) {
	// A node whose credentials are refused for a while, as in the middle of
	// their rotation, must not give up for good.
	opts := []nats.Option{nats.IgnoreAuthErrorAbort()}
	if c.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	if c.CredsFile != "" {
		if err := readable("creds_file", c.CredsFile); err != nil {
			return nil, err
		}
		opts = append(opts, nats.UserCredentials(c.CredsFile))
	}
	if c.NKeyFile != "" {
		nkey, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nats.nkey_file: %s: %w", c.NKeyFile, err)
		}
		opts = append(opts, nkey)
	}
	if c.CAFile != "" {
		if err := readable("ca_file", c.CAFile); err != nil {
			return nil, err
		}
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
			return nil, fmt.Errorf("nats.cert_file: %w", err)
		}
		opts = append(opts, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	return opts, nil
}

func readable(key, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("nats.%s: %w", key, err)
	}
	return f.Close()
}

// refused says which key to look at when the cluster, or this node, ends the
// handshake.
func (c Config) refused(err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var op *net.OpError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		key := "nats.creds_file or nats.nkey_file"
		switch {
		case c.CredsFile != "":
			key = "nats.creds_file"
		case c.NKeyFile != "":
			key = "nats.nkey_file"
		}
		return fmt.Errorf("the servers refuse this node's credentials, see %s: %w", key, err)
	case errors.As(err, &unknown):
		return fmt.Errorf("the servers' certificates are not of an authority in nats.ca_file: %w", err)
	case errors.As(err, &name):
		return fmt.Errorf("a server's certificate does not have the name in nats.url: %w", err)
	case errors.Is(err, nats.ErrTLS), errors.Is(err, nats.ErrSecureConnRequired), errors.As(err, &op) && op.Op == "remote error":
		return fmt.Errorf("the servers refuse this node's TLS, see nats.cert_file and nats.ca_file: %w", err)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("nats.url or nats.ca_file asks for TLS, which the servers do not have: %w", err)
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("nobody answers at nats.url: %w", err)
	}
	return err
}

const (
	// electWithin is how long a cluster may take to elect that has just been
	// started, before it counts as one without JetStream.
	electWithin = time.Minute
	// askAgain is how long one question may wait.
	askAgain = 2 * time.Second
)

// findJetStream asks whether there is JetStream, and for this user. It is
// patient with a cluster that still elects.
func (n *Node) findJetStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, electWithin)
	defer cancel()
	for {
		err := n.askJetStream(ctx)
		if err == nil || !patience(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookAgain):
		}
	}
}

// patience reports whether JetStream does not answer, or says that it has no leader.
func patience(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &api) && api.ErrorCode == codeNoMeta
}

func (n *Node) askJetStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askAgain)
	defer cancel()
	_, err := n.js.AccountInfo(ctx)
	switch {
	case err == nil:
		return nil
	case n.Embedded():
		return fmt.Errorf("embedded NATS without JetStream: %w", err)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("nats.url: the servers, or this node's account there, have no JetStream: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("nats.url: JetStream does not answer; are more than half of its servers up, "+
			"and may this node publish to $JS.API.>? %w", err)
	}
	return fmt.Errorf("nats.url: JetStream: %w", err)
}

// Codes of JetStream's errors that its client package does not name.
const (
	codeNoPeers     jetstream.ErrorCode = 10005 // too few servers for the replicas
	codeNotACluster jetstream.ErrorCode = 10074 // replicas on a single server
	codeNoMeta      jetstream.ErrorCode = 10008 // too few servers up to decide anything
	codeNoResources jetstream.ErrorCode = 10023
)

const (
	// joinWithin is how long servers of a cluster may take until the one that decides has
	// heard from them all; they tell of themselves every ten seconds.
	joinWithin = 20 * time.Second
	// lookAgain is how long it waits before it is asked once more.
	lookAgain = 250 * time.Millisecond
)

// Prepare calls prepare, which makes streams or finds them, and explains what it fails
// with. Where there are too few servers for that it is called again for a while: in a
// cluster that has only just been started not all are known yet.
func (n *Node) Prepare(ctx context.Context, prepare func() error) error {
	ctx, cancel := context.WithTimeout(ctx, joinWithin)
	defer cancel()
	for first := true; ; first = false {
		err := prepare()
		var api *jetstream.APIError
		if !errors.As(err, &api) || api.ErrorCode != codeNoPeers {
			return n.Explain(err)
		}
		if first {
			n.log.Info("the NATS cluster has too few servers so far; waiting for more", "at most", joinWithin)
		}
		select {
		case <-ctx.Done():
			return n.Explain(err)
		case <-time.After(lookAgain):
		}
	}
}

// Explain adds to an error of JetStream which key it is about, where that is
// known: too few servers for nats.replicas, or too few that are up.
func (n *Node) Explain(err error) error {
	var api *jetstream.APIError
	if n.Embedded() || !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode {
	case codeNoPeers, codeNotACluster, codeNoResources:
		if n.config.Placement != "" {
			return fmt.Errorf("nats.placement: there is no cluster %q that has nats.replicas, %d, servers with JetStream and room: %w",
				n.config.Placement, n.config.Replicas, err)
		}
		return fmt.Errorf("nats.replicas: %d, and the cluster has fewer servers with JetStream and room than that; "+
			"start more of them, or set nats.replicas: 1 where losing a server may lose data: %w", n.config.Replicas, err)
	case codeNoMeta:
		return fmt.Errorf("nats.url: fewer than half of the cluster's servers are up, so nothing can be made or changed: %w", err)
	}
	return err
}
