package mailbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// metaStreams is the key in a stream's metadata that says how many streams
// there are. INBOX_0 is made first, so its creation decides between nodes that
// disagree.
const metaStreams = "switchboard.inbox.streams"

// headerBytes is room in a stored message for the headers beside the item.
const headerBytes = 1 << 10

// ErrStreams tells that the mailboxes lie in another number of streams than
// configured.
var ErrStreams = errors.New("number of mailbox streams differs")

// prepare makes the streams, or checks and updates those that are there.
func prepare(ctx context.Context, js jetstream.JetStream, c Config) (replicas int, err error) {
	for k := range c.Streams {
		info, err := prepareStream(ctx, js, c, k)
		if err != nil {
			return 0, fmt.Errorf("stream %s: %w", streamName(k), err)
		}
		replicas = max(replicas, info.Replicas)
	}
	return replicas, nil
}

func prepareStream(ctx context.Context, js jetstream.JetStream, c Config, k int) (jetstream.StreamConfig, error) {
	want := streamConfig(c, k)
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was faster
			s, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return want, err
	}
	have := s.CachedInfo().Config
	if err := sameStreams(have, c.Streams); err != nil {
		return want, err
	}
	changed, ok := adjust(have, want)
	if !ok {
		return have, nil
	}
	_, err = js.UpdateStream(ctx, changed)
	return changed, err
}

// sameStreams refuses a stream that was made for another number of streams:
// accounts would be looked for where they are not.
func sameStreams(have jetstream.StreamConfig, n int) error {
	was, ok := have.Metadata[metaStreams]
	if !ok {
		return fmt.Errorf("%w: the stream does not say how many there are, so it is not a mailbox of ours; "+
			"remove it, or point nats.url or the data directory elsewhere", ErrStreams)
	}
	if was != strconv.Itoa(n) {
		return fmt.Errorf("%w: the data lies in %s, mailbox.streams is %d; set mailbox.streams: %s, "+
			"or move the data to new streams first", ErrStreams, was, n, was)
	}
	return nil
}

// adjust is have with what the configuration decides, and whether that is a
// change. Replicas only grow: a node with an old file must not shrink a cluster.
func adjust(have, want jetstream.StreamConfig) (jetstream.StreamConfig, bool) {
	to := have
	to.MaxMsgsPerSubject, to.MaxAge, to.MaxMsgSize = want.MaxMsgsPerSubject, want.MaxAge, want.MaxMsgSize
	to.Replicas = max(have.Replicas, want.Replicas)
	same := to.MaxMsgsPerSubject == have.MaxMsgsPerSubject && to.MaxAge == have.MaxAge &&
		to.MaxMsgSize == have.MaxMsgSize && to.Replicas == have.Replicas
	return to, !same
}

func streamConfig(c Config, k int) jetstream.StreamConfig {
	first, end := shardsOf(k, c.Streams)
	var subjects []string
	for shard := first; shard < end; shard++ {
		subjects = append(subjects, fmt.Sprintf("inbox.%02x.*.*", shard))
	}
	return jetstream.StreamConfig{
		Name:                 streamName(k),
		Description:          "items that wait for devices",
		Subjects:             subjects,
		Storage:              jetstream.FileStorage,
		Retention:            jetstream.LimitsPolicy,
		Replicas:             c.Replicas,
		MaxAge:               c.Age,
		MaxMsgsPerSubject:    int64(c.Items),
		MaxMsgSize:           int32(c.ItemBytes + headerBytes),
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		Duplicates:           Window,
		AllowDirect:          true,
		AllowMsgTTL:          true,
		Metadata:             map[string]string{metaStreams: strconv.Itoa(c.Streams)},
	}
}
