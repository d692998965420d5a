package directory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Directory is a node's view of the directory. Make one with [Open]. It is the
// collector of its own metrics: register it.
type Directory struct {
	*metrics

	// Static after Open.
	config    Config
	log       *slog.Logger
	nc        *nats.Conn
	js        jetstream.JetStream
	replies   *replies
	settings  *bucket
	accounts  *bucket
	devices   *bucket
	presence  *bucket
	nodes     *bucket
	seen      *bucket
	people    *bucket
	watches   *watches
	started   chan struct{}
	rewatch   chan struct{}                                  // holds one if the leases are to be watched anew
	deaths    chan struct{}                                  // holds one if the janitor has work
	queued    atomic.Int64                                   // requests of other nodes that wait
	newest    atomic.Uint64                                  // revision of a number's record that a look-up has seen
	answer    func(context.Context, Request) ([]byte, error) // set before Run
	regained  func(context.Context)                          // likewise
	load      func() (sessions, most int)                    // likewise
	onRelay   func()                                         // likewise
	begun     time.Time
	tellNow   chan struct{} // holds one if the lease has something new to tell
	relayNews chan struct{} // holds one if there is news of relays

	// Guarded by mu.
	mu          sync.Mutex
	incarnation string
	good        time.Time             // how long the own lease holds at least; zero without one
	loaded      bool                  // the others' leases are known
	trouble     error                 // why the last renewal did not work
	leases      map[string]heard      // by incarnation
	died        map[string]time.Time  // incarnation to when its lease ended, by the server's clock
	relays      map[string]knownRelay // by name
	waiting     map[Account]time.Time
	draining    bool // it sends its devices elsewhere
}

// Open makes the buckets if they are not there. It starts nothing: the node
// counts as alive once [Directory.Run] holds its lease, and [Directory.Bind]
// works from then on; the rest works at once. What it subscribes to ends with
// the connection. [ErrOtherSecret] says that the secret is not the data's.
func Open(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, c Config, log *slog.Logger) (*Directory, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	d := &Directory{
		config: c, log: log, nc: nc, js: js,
		incarnation: c.incarnation(strings.ToLower(rand.Text()[:8])),
		watches:     newWatches(),
		started:     make(chan struct{}), deaths: make(chan struct{}, 1),
		begun: now(), tellNow: make(chan struct{}, 1), relayNews: make(chan struct{}, 1), rewatch: make(chan struct{}, 1),
		leases: map[string]heard{}, died: map[string]time.Time{}, relays: map[string]knownRelay{}, waiting: map[Account]time.Time{},
	}
	d.metrics = newMetrics(d.counts, d.queued.Load, d.countRelays)
	var err error
	if d.replies, err = newReplies(nc); err != nil {
		return nil, unavailable(err)
	}
	if err = d.openBuckets(ctx); err == nil {
		err = d.agree(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", errors.Join(err, d.replies.close()))
	}
	return d, nil
}

// Incarnation names the node since its last start, or since it last lost its
// lease.
func (d *Directory) Incarnation() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.incarnation
}

// Started is closed when Run holds the lease and knows the other nodes.
func (d *Directory) Started() <-chan struct{} { return d.started }

var errNotStarted = errors.New("the lease is not held yet")

// Ready tells why the node cannot serve devices, or nil.
func (d *Directory) Ready() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.trouble != nil:
		return d.trouble
	case d.good.IsZero() || !d.loaded:
		return errNotStarted
	case !time.Now().Before(d.good):
		return ErrLeaseLost
	}
	return nil
}
