package cdr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/signaling/internal/stream"
)

// ErrUnavailable says that the records cannot be reached: whatever was asked may or
// may not have happened.
var ErrUnavailable = errors.New("records of calls are unavailable")

// Store keeps records. Make one with [Open]. It is the collector of its own metrics.
// Its methods may be called concurrently.
type Store struct {
	*metrics

	// Static after Open.
	config Config
	js     jetstream.JetStream
	conn   *nats.Conn
	get    string // subject of direct gets
	// How many records are read at a time, and for one page.
	window, maxScan uint64
}

const (
	streamName = "CDR"
	// duplicates is for how long a repeat is noticed. A call's own record, from which
	// repeats come, lives shorter.
	duplicates = 20 * time.Minute
	// maxRecord bounds a record, in bytes; the longest that there can be has about
	// two thousand.
	maxRecord = 8 << 10
)

// Open makes the stream, or takes the one that is there, with the age and the number
// of records as configured. It starts nothing.
func Open(ctx context.Context, c Config, js jetstream.JetStream) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if !c.On() {
		return nil, errors.New("cdr.age: is 0s, no records are kept")
	}
	if err := prepare(ctx, js, c); err != nil {
		return nil, fmt.Errorf("stream %s: %w: %w", streamName, ErrUnavailable, err)
	}
	return &Store{
		metrics: newMetrics(), config: c, js: js, conn: js.Conn(), get: apiPrefix(js.Options()) + "DIRECT.GET." + streamName,
		window: window, maxScan: maxScan,
	}, nil
}

func apiPrefix(o jetstream.JetStreamOptions) string {
	switch {
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	}
	return jetstream.DefaultAPIPrefix
}

func (c Config) stream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName, Description: "records of calls that are over", Subjects: []string{"cdr.>"},
		Storage: jetstream.FileStorage, Replicas: max(1, c.Replicas), Retention: jetstream.LimitsPolicy,
		MaxAge: c.Age, MaxMsgs: int64(c.Records), Discard: jetstream.DiscardOld, MaxMsgSize: maxRecord,
		Duplicates: duplicates, AllowDirect: true,
	}
}

// prepare makes the stream, and sets what operators may change of one that is there.
func prepare(ctx context.Context, js jetstream.JetStream, c Config) error {
	want := c.stream()
	return stream.Prepare(ctx, js, want, func(have *jetstream.StreamConfig) bool {
		changed := have.MaxAge != want.MaxAge || have.MaxMsgs != want.MaxMsgs
		have.MaxAge, have.MaxMsgs = want.MaxAge, want.MaxMsgs
		return changed
	})
}

// Write stores the record of a call and returns once it is synced. A call's second
// record within 20 minutes of its first is dropped. [ErrUnavailable] says that it may
// have been stored or not: write it again.
func (s *Store) Write(ctx context.Context, r Record) error {
	r.V = Version
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("record of a call: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	ack, err := s.js.Publish(ctx, r.subject(), data, jetstream.WithMsgID(r.id()))
	switch {
	case err != nil:
		s.metrics.failed.Inc()
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case ack.Duplicate:
		s.metrics.repeated.Inc()
	default:
		s.metrics.written.Inc()
	}
	return nil
}
