package directory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Directory is a node's view of the directory. Make one with [Open].
type Directory struct {
	// Static after Open.
	config      Config
	log         *slog.Logger
	nc          *nats.Conn
	js          jetstream.JetStream
	replies     *replies
	incarnation string
	accounts    *bucket
	devices     *bucket
	presence    *bucket
	nodes       *bucket
	seen        *bucket
	started     chan struct{}
	answer      func(context.Context, Request) ([]byte, error) // set before Run

	// Guarded by mu.
	mu      sync.Mutex
	leases  map[string]time.Time  // incarnation to when it was last renewed, by this node's clock
	waiting map[Account]time.Time // last seen, not yet written
	ready   error
}

var errNotStarted = errors.New("the lease is not held yet")

// Open makes the buckets if they are not there. It starts nothing: the node
// counts as alive once [Directory.Run] holds its lease.
func Open(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, c Config, log *slog.Logger) (*Directory, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	d := &Directory{
		config: c, log: log, nc: nc, js: js,
		incarnation: c.Node + "-" + strings.ToLower(rand.Text()[:8]),
		started:     make(chan struct{}), leases: map[string]time.Time{}, waiting: map[Account]time.Time{},
		ready: errNotStarted,
	}
	if !validNode(d.incarnation) {
		return nil, errors.New("directory: the node's name may have a-z, 0-9 and - alone")
	}
	var err error
	if d.replies, err = newReplies(nc); err != nil {
		return nil, unavailable(err)
	}
	for _, b := range []struct {
		to      **bucket
		name    string
		storage jetstream.StorageType
	}{
		{&d.accounts, bucketAccounts, jetstream.FileStorage},
		{&d.devices, bucketDevices, jetstream.FileStorage},
		{&d.seen, bucketSeen, jetstream.FileStorage},
		// What is only true while nodes live needs no disk.
		{&d.presence, bucketPresence, jetstream.MemoryStorage},
		{&d.nodes, bucketNodes, jetstream.MemoryStorage},
	} {
		*b.to, err = openBucket(ctx, nc, js, d.replies, c.RequestTimeout, jetstream.KeyValueConfig{
			Bucket: b.name, History: 1, Storage: b.storage, Replicas: c.Replicas, LimitMarkerTTL: time.Minute,
		})
		if err != nil {
			return nil, fmt.Errorf("open directory: %w", errors.Join(err, d.replies.close()))
		}
	}
	return d, nil
}

// Incarnation names the node since its last start.
func (d *Directory) Incarnation() string { return d.incarnation }

// Started is closed when Run holds the lease and knows the other nodes.
func (d *Directory) Started() <-chan struct{} { return d.started }

// Ready tells why the node cannot serve devices, or nil.
func (d *Directory) Ready() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ready
}
