package natsnode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// LeafDomain is the JetStream domain of an embedded server that is attached to
// a cluster.
const LeafDomain = "embedded"

// LeafConfig attaches an embedded server to a cluster.
type LeafConfig struct {
	// Dir is where the embedded server keeps its files.
	Dir string
	// URL is where a server of the cluster takes leaf nodes, by default on port
	// 7422.
	URL string
	// CredsFile, NKeyFile, CAFile, CertFile and KeyFile are as in [Config].
	CredsFile, NKeyFile, CAFile, CertFile, KeyFile string
}

// leafWithin bounds how long the embedded server may take to get through to the
// cluster.
const leafWithin = 30 * time.Second

// OpenLeaf starts the embedded server on its files as a leaf node of a cluster,
// so that the cluster can copy what is in them, and returns when the two are
// connected. Of the directory it is the only user; [ErrInUse] says that a node
// still runs on it.
func OpenLeaf(ctx context.Context, c LeafConfig, log *slog.Logger) (*Node, error) {
	if _, err := os.Stat(filepath.Join(c.Dir, "jetstream")); err != nil {
		return nil, fmt.Errorf("nats: %s holds no data of an embedded server: %w", c.Dir, err)
	}
	n := &Node{}
	n.close = sync.OnceValue(n.end)
	err := n.attach(ctx, c, log)
	if err != nil {
		return nil, errors.Join(err, n.Close(ctx))
	}
	return n, nil
}

func (n *Node) attach(ctx context.Context, c LeafConfig, log *slog.Logger) (err error) {
	if n.lock, err = lockDir(c.Dir); err != nil {
		return err
	}
	remote, err := c.remote()
	if err != nil {
		return err
	}
	o := serverOptions(c.Dir)
	o.ServerName, o.JetStreamDomain = "switchboard-embedded", LeafDomain
	o.LeafNode.Remotes = []*server.RemoteLeafOpts{remote}
	o.LeafNode.ReconnectInterval = time.Second
	if n.inside, err = embed(o, nil, log); err != nil {
		return err
	}
	if n.conn, err = nats.Connect("", nats.InProcessServer(n.inside)); err != nil {
		return fmt.Errorf("connect to embedded NATS: %w", err)
	}
	if n.js, err = jetstream.NewWithDomain(n.conn, LeafDomain); err != nil {
		return fmt.Errorf("connect to embedded NATS: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, leafWithin)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n.inside.current().NumLeafNodes() == 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("leaf: the cluster does not take the embedded server as a leaf node at %s: is there a leafnodes listener, "+
				"and do its credentials and TLS fit? %w", hostOf(c.URL), ctx.Err())
		}
	}
	return nil
}

// hostOf leaves out what may be secret in a URL.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the address given"
	}
	return u.Host
}

func (c LeafConfig) remote() (*server.RemoteLeafOpts, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || !strings.HasPrefix(u.Scheme, "nats") && u.Scheme != "tls" {
		return nil, errors.New("leaf: must be the address of the cluster's leafnodes listener, such as nats://n1:7422 or tls://n1:7422")
	}
	// What is stored in the cluster meanwhile is not stored here once more.
	r := &server.RemoteLeafOpts{URLs: []*url.URL{u}, Credentials: c.CredsFile, DenyImports: []string{"$KV.>", "inbox.>", "push.>", "pushdead.>", "cdr.>"}}
	if c.NKeyFile != "" {
		seed, err := os.ReadFile(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nats.nkey_file: %w", err)
		}
		r.Nkey = strings.TrimSpace(string(seed))
	}
	if c.CAFile == "" && c.CertFile == "" && u.Scheme != "tls" {
		return r, nil
	}
	r.TLS = true
	r.TLSConfig, err = server.GenTLSConfig(&server.TLSConfigOpts{CertFile: c.CertFile, KeyFile: c.KeyFile, CaFile: c.CAFile, Timeout: 5})
	if err != nil {
		return nil, fmt.Errorf("leaf: TLS: %w", err)
	}
	return r, nil
}

// movedFile, in the directory of an embedded server, says that its data lives
// elsewhere now.
const movedFile = "MOVED"

// ErrMoved says that the data of the embedded server has been moved to a
// cluster.
var ErrMoved = errors.New("the data was moved to a cluster")

// MarkMoved keeps nodes from starting on the embedded server's files, whose
// data lives elsewhere from now on.
func MarkMoved(dir, to string) error {
	text := "The data that was here lives in the NATS cluster at " + to + ".\n" +
		"Whoever starts a node on these files again loses what has happened there since.\n" +
		"To do so all the same, stop the nodes on the cluster and remove this file.\n"
	f, err := os.OpenFile(filepath.Join(dir, movedFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// Moved reports whether the data of the embedded server has been moved.
func Moved(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, movedFile))
	return !errors.Is(err, fs.ErrNotExist)
}
