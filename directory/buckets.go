package directory

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of the buckets.
const (
	bucketConfig   = "CONFIG"
	bucketAccounts = "ACCT"
	bucketDevices  = "DEVS"
	bucketPresence = "PRES"
	bucketNodes    = "NODES"
	bucketSeen     = "SEEN"
	bucketPeople   = "PEOPLE"
)

// shards is how many logical shards the accounts are spread over. See
// [Account.Shard].
const shards = 64

// markerLife is how long the mark of a record remains whose time is up.
const markerLife = time.Minute

// kind is a bucket to be made.
type kind struct {
	to      **bucket
	name    string
	what    string
	storage jetstream.StorageType
}

func (d *Directory) kinds() []kind {
	return []kind{
		{&d.settings, bucketConfig, "what all nodes must agree on", jetstream.FileStorage},
		{&d.accounts, bucketAccounts, "numbers and accounts", jetstream.FileStorage},
		{&d.devices, bucketDevices, "devices", jetstream.FileStorage},
		{&d.seen, bucketSeen, "when accounts were last seen", jetstream.FileStorage},
		{&d.people, bucketPeople, "whom accounts know and block", jetstream.FileStorage},
		// What is only true while nodes live needs no disk.
		{&d.presence, bucketPresence, "connected devices", jetstream.MemoryStorage},
		{&d.nodes, bucketNodes, "leases of nodes", jetstream.MemoryStorage},
	}
}

// openBuckets makes the buckets, or checks those that are there.
func (d *Directory) openBuckets(ctx context.Context) error {
	for _, k := range d.kinds() {
		if err := d.prepare(ctx, k); err != nil {
			return err
		}
		*k.to = &bucket{name: k.name, nc: d.nc, js: d.js, replies: d.replies, timeout: d.config.RequestTimeout}
	}
	return nil
}

// openVolatile makes the buckets anew that NATS forgets when it is restarted.
func (d *Directory) openVolatile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.config.RequestTimeout)
	defer cancel()
	for _, k := range d.kinds() {
		if k.storage != jetstream.MemoryStorage {
			continue
		}
		if err := d.prepare(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes a bucket. Of one that is there it changes the number of
// replicas at most, and that only upwards: a node with an old configuration
// must not thin out a cluster.
func (d *Directory) prepare(ctx context.Context, k kind) error {
	if err := d.prepareStream(ctx, streamConfig(k.name, k.what, k.storage, d.config.Replicas)); err != nil {
		return fmt.Errorf("bucket %s: %w", k.name, unavailable(err))
	}
	return nil
}

func (d *Directory) prepareStream(ctx context.Context, want jetstream.StreamConfig) error {
	s, err := d.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = d.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was faster
			s, err = d.js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return err
	}
	have := s.CachedInfo().Config
	if have.Replicas >= want.Replicas {
		return nil
	}
	if have.PersistMode == jetstream.AsyncPersistMode {
		return fmt.Errorf("it was made for one server and cannot be replicated; "+
			"it holds only %s: stop the nodes, remove the stream %s and start again", want.Description, want.Name)
	}
	have.Replicas = want.Replicas
	_, err = d.js.UpdateStream(ctx, have)
	return err
}

// streamConfig is a key-value bucket as a stream, which any key-value client
// can read.
func streamConfig(name, what string, storage jetstream.StorageType, replicas int) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:                   "KV_" + name,
		Description:            what,
		Subjects:               []string{"$KV." + name + ".>"},
		Storage:                storage,
		Replicas:               replicas,
		MaxMsgsPerSubject:      1,
		Discard:                jetstream.DiscardNew,
		DenyDelete:             true,
		AllowRollup:            true,
		AllowDirect:            true,
		AllowMsgTTL:            true,
		SubjectDeleteMarkerTTL: markerLife,
	}
	if name == bucketSeen && replicas == 1 {
		// A whole city that disconnects must not queue for the disk. What a
		// power failure takes is the last second's times.
		c.PersistMode = jetstream.AsyncPersistMode
	}
	return c
}

// settings are what all nodes on the same data must agree on.
type settings struct {
	V      int    `json:"v"`
	Shards int    `json:"shards"`
	Secret string `json:"secret"` // tells secrets apart, and gives none away
}

// settingsKey is their key in CONFIG.
const settingsKey = "directory"

// ErrOtherSecret says that the keys of the data were made with another secret
// than the configured one, so that no number would be found.
var ErrOtherSecret = errors.New("the data was made with another secret")

// agree compares the settings with those that the data was made with, and
// writes them down if it is new.
func (d *Directory) agree(ctx context.Context) error {
	mine := settings{V: recordVersion, Shards: shards, Secret: secretCheck(d.config.Secret)}
	data, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	_, err = d.settings.swap(ctx, settingsKey, data, 0, 0)
	if !errors.Is(err, errRevision) {
		return err
	}
	e, err := d.settings.getLeader(ctx, settingsKey)
	if err != nil {
		return err
	}
	var have settings
	if err := decode("settings", e.data, &have); err != nil {
		return err
	}
	switch {
	case have.Secret != mine.Secret:
		return fmt.Errorf("%w: give this node the secret that the others have, or point nats.url or the data directory elsewhere", ErrOtherSecret)
	case have.Shards != mine.Shards:
		return &RecordError{"settings", "shards", fmt.Sprintf("is %d, this program knows %d", have.Shards, mine.Shards)}
	}
	return nil
}

func secretCheck(secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("switchboard: is it the same secret?"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
