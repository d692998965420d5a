package callstoretest

import (
	"context"
	"testing"
	"time"

	"switchboard/signaling/callstore"
)

// Calls is what an implementation offers.
type Calls interface {
	Create(ctx context.Context, key string, data []byte, ttl time.Duration) (rev uint64, err error)
	Load(ctx context.Context, key string) (data []byte, rev uint64, err error)
	Save(ctx context.Context, key string, data []byte, rev uint64, ttl time.Duration) (uint64, error)
	Delete(ctx context.Context, key string, rev uint64) error
}

var (
	_ Calls = (*callstore.Store)(nil)
	_ Calls = (*Fake)(nil)
)

// Run tests what every implementation promises. open returns an empty store
// with the limits of c.
func Run(t *testing.T, open func(testing.TB, callstore.Config) Calls) {
}
