package callstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// openTimeout bounds Open at least: a cluster that starts elects first.
	openTimeout = 30 * time.Second
	// headerBytes is room in a stored message for the headers beside the record.
	headerBytes = 1 << 10
	// markerLife is how long the trace of a record remains that is gone.
	markerLife = 5 * time.Second
)

// prepare makes the bucket, or checks and updates the one that is there. It is
// made as a stream, because the key-value API has no word for the mode of
// persistence; any key-value client can look into it all the same.
func prepare(ctx context.Context, js jetstream.JetStream, c Config) (jetstream.StreamConfig, error) {
	want := streamConfig(c)
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
	to := have
	to.MaxMsgSize, to.Replicas = want.MaxMsgSize, max(have.Replicas, want.Replicas)
	if to.MaxMsgSize == have.MaxMsgSize && to.Replicas == have.Replicas {
		return have, nil
	}
	if to.Replicas > 1 && have.PersistMode == jetstream.AsyncPersistMode {
		return want, fmt.Errorf("bucket %s was made for one server and cannot be replicated: "+
			"its records live for minutes, so stop the nodes, remove the stream %s and start again", c.Bucket, want.Name)
	}
	_, err = js.UpdateStream(ctx, to)
	return to, err
}

func streamConfig(c Config) jetstream.StreamConfig {
	mode := jetstream.DefaultPersistMode
	if c.Replicas == 1 {
		mode = jetstream.AsyncPersistMode
	}
	return jetstream.StreamConfig{
		Name:                   "KV_" + c.Bucket,
		Description:            "calls in progress",
		Subjects:               []string{"$KV." + c.Bucket + ".>"},
		Storage:                jetstream.FileStorage,
		Retention:              jetstream.LimitsPolicy,
		Replicas:               c.Replicas,
		PersistMode:            mode,
		MaxMsgsPerSubject:      1,
		MaxMsgSize:             int32(c.RecordBytes + headerBytes),
		Discard:                jetstream.DiscardNew,
		DenyDelete:             true,
		AllowRollup:            true,
		AllowDirect:            true,
		AllowMsgTTL:            true,
		SubjectDeleteMarkerTTL: markerLife,
	}
}
