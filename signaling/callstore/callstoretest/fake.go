package callstoretest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"switchboard/signaling/callstore"
)

// Fake is call records in memory. It is safe for concurrent use.
type Fake struct {
	c callstore.Config

	mu      sync.Mutex
	fail    error
	last    uint64 // newest revision, of all keys
	records map[string]record
}

type record struct {
	data    []byte
	rev     uint64
	expires time.Time
}

// New returns an empty store with the default limits.
func New() *Fake { return NewWith(callstore.Default()) }

// NewWith returns an empty store with the limits of c.
func NewWith(c callstore.Config) *Fake {
	return &Fake{c: c, records: map[string]record{}}
}

// Fail makes every operation return err, until it is called with nil.
// [callstore.ErrUnavailable] is what it is for.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// Len is the number of records that are alive.
func (f *Fake) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for key := range f.records {
		if _, ok := f.live(key); ok {
			n++
		}
	}
	return n
}

// Create is as [callstore.Store.Create].
func (f *Fake) Create(ctx context.Context, key string, data []byte, ttl time.Duration) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmp.Or(callstore.CheckRecord(f.c, key, data, ttl), f.ready(ctx)); err != nil {
		return 0, fmt.Errorf("create call record: %w", err)
	}
	if _, ok := f.live(key); ok {
		return 0, fmt.Errorf("create call record: %w", callstore.ErrExists)
	}
	return f.put(key, data, ttl), nil
}

// Load is as [callstore.Store.Load].
func (f *Fake) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmp.Or(callstore.CheckKey(key), f.ready(ctx)); err != nil {
		return nil, 0, fmt.Errorf("load call record: %w", err)
	}
	r, ok := f.live(key)
	if !ok {
		return nil, 0, fmt.Errorf("load call record: %w", callstore.ErrNotFound)
	}
	return slices.Clone(r.data), r.rev, nil
}

// Save is as [callstore.Store.Save].
func (f *Fake) Save(ctx context.Context, key string, data []byte, rev uint64, ttl time.Duration) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := cmp.Or(callstore.CheckRecord(f.c, key, data, ttl), f.ready(ctx), f.expect(key, rev))
	if err != nil {
		return 0, fmt.Errorf("save call record: %w", err)
	}
	return f.put(key, data, ttl), nil
}

// Delete is as [callstore.Store.Delete].
func (f *Fake) Delete(ctx context.Context, key string, rev uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmp.Or(callstore.CheckKey(key), f.ready(ctx), f.expect(key, rev)); err != nil {
		return fmt.Errorf("delete call record: %w", err)
	}
	f.last++
	delete(f.records, key)
	return nil
}

// Keys is as [callstore.Store.Keys].
func (f *Fake) Keys(ctx context.Context, prefix string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmp.Or(callstore.CheckPrefix(prefix), f.ready(ctx)); err != nil {
		return nil, fmt.Errorf("list call records: %w", err)
	}
	var all []string
	for key := range f.records {
		if _, ok := f.live(key); ok && strings.HasPrefix(key, prefix) {
			all = append(all, key)
		}
	}
	return all, nil
}

// ready tells why nothing can be done.
func (f *Fake) ready(ctx context.Context) error {
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", callstore.ErrUnavailable, err)
	} else if err != nil {
		return err
	}
	return f.fail
}

func (f *Fake) live(key string) (record, bool) {
	r, ok := f.records[key]
	if ok && !time.Now().Before(r.expires) {
		delete(f.records, key)
		return record{}, false
	}
	return r, ok
}

func (f *Fake) expect(key string, rev uint64) error {
	if r, ok := f.live(key); !ok || r.rev != rev {
		return callstore.ErrConflict
	}
	return nil
}

func (f *Fake) put(key string, data []byte, ttl time.Duration) uint64 {
	f.last++
	f.records[key] = record{slices.Clone(data), f.last, time.Now().Add(callstore.Life(ttl))}
	return f.last
}
