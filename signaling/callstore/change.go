package callstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Changer is what [Change] needs of a store; a [Store] is one.
type Changer interface {
	Create(ctx context.Context, key string, data []byte, ttl time.Duration) (rev uint64, err error)
	Load(ctx context.Context, key string) (data []byte, rev uint64, err error)
	Save(ctx context.Context, key string, data []byte, rev uint64, ttl time.Duration) (uint64, error)
}

// changeTries bounds how often a change is tried anew because another was
// faster.
const changeTries = 32

// Change replaces a record by what f makes of it, nil standing for none, and
// gives it a new life. f may run more than once, each time on the newest record;
// its error is returned as it is, and if it returns nil the record stays as it
// is. [ErrUnavailable] says, too, that others were faster every time.
func Change(ctx context.Context, s Changer, key string, life time.Duration, f func(old []byte) ([]byte, error)) error {
	for try := range changeTries {
		old, rev, err := s.Load(ctx, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		data, err := f(old)
		if err != nil || data == nil {
			return err
		}
		if old == nil {
			_, err = s.Create(ctx, key, data, life)
		} else {
			_, err = s.Save(ctx, key, data, rev, life)
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) {
			return err
		}
		select {
		case <-time.After(rand.N(time.Millisecond << min(try, 6))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return fmt.Errorf("%w: a record changes too fast", ErrUnavailable)
}
