// Package stream makes JetStream streams, the same way for all that keep one.
package stream

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// Prepare makes a stream, or takes the one that is there. Of that it raises the number
// of replicas at most, because a node with an old configuration must not thin out a
// cluster, and makes the changes that adopt makes and reports; adopt may be nil.
func Prepare(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, adopt func(have *jetstream.StreamConfig) (changed bool)) error {
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was faster
			s, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return err
	}
	have := s.CachedInfo().Config
	changed := adopt != nil && adopt(&have)
	if have.Replicas < want.Replicas {
		have.Replicas, changed = want.Replicas, true
	}
	if !changed {
		return nil
	}
	_, err = js.UpdateStream(ctx, have)
	return err
}
