package callstoretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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
	Keys(ctx context.Context, prefix string) ([]string, error)
}

var (
	_ Calls = (*callstore.Store)(nil)
	_ Calls = (*Fake)(nil)
)

// Run tests what every implementation promises. open returns an empty store
// with the limits of c.
func Run(t *testing.T, open func(tb testing.TB, c callstore.Config) Calls) {
	for name, test := range map[string]func(x *contract){
		"create":        create,
		"save":          save,
		"delete":        remove,
		"create again":  createAgain,
		"life":          life,
		"too large":     tooLarge,
		"invalid":       invalid,
		"keys":          keys,
		"listing":       listing,
		"ended context": ended,
		"one creator":   oneCreator,
		"counter":       counter,
	} {
		t.Run(name, func(t *testing.T) {
			c := callstore.Default()
			c.RecordBytes = 4 << 10
			test(&contract{t, open(t, c), c})
		})
	}
}

// contract is a test on one implementation.
type contract struct {
	*testing.T
	Calls
	c callstore.Config
}

const (
	key = "0a1b2c3d4e5f6.call-1_A"
	ttl = time.Minute
)

func (x *contract) create(key, data string) uint64 {
	x.Helper()
	rev, err := x.Create(x.Context(), key, []byte(data), ttl)
	if err != nil || rev == 0 {
		x.Fatalf("create: revision %d, err %v", rev, err)
	}
	return rev
}

// want checks what is stored.
func (x *contract) want(key, data string, rev uint64) {
	x.Helper()
	got, r, err := x.Load(x.Context(), key)
	if err != nil || string(got) != data || r != rev {
		x.Fatalf("load: %q, revision %d, err %v; want %q, revision %d", got, r, err, data, rev)
	}
}

func (x *contract) wantNone(key string) {
	x.Helper()
	data, rev, err := x.Load(x.Context(), key)
	if !errors.Is(err, callstore.ErrNotFound) || data != nil || rev != 0 {
		x.Fatalf("load: %q, revision %d, err %v; want none", data, rev, err)
	}
}

func (x *contract) wantErr(err, want error) {
	x.Helper()
	if !errors.Is(err, want) {
		x.Fatalf("got error %v, want %v", err, want)
	}
}

func create(x *contract) {
	x.wantNone(key)
	rev := x.create(key, "one")
	x.want(key, "one", rev)
	got, err := x.Create(x.Context(), key, []byte("two"), ttl)
	x.wantErr(err, callstore.ErrExists)
	if got != 0 {
		x.Errorf("the refused record has the revision %d", got)
	}
	x.want(key, "one", rev)
}

func save(x *contract) {
	old := x.create(key, "one")
	rev, err := x.Save(x.Context(), key, []byte("two"), old, ttl)
	if err != nil || rev <= old {
		x.Fatalf("save: revision %d after %d, err %v", rev, old, err)
	}
	x.want(key, "two", rev)
	for _, wrong := range []uint64{0, old, rev + 1} {
		got, err := x.Save(x.Context(), key, []byte("three"), wrong, ttl)
		x.wantErr(err, callstore.ErrConflict)
		if got != 0 {
			x.Errorf("the refused record has the revision %d", got)
		}
	}
	x.want(key, "two", rev)
	_, err = x.Save(x.Context(), "another", []byte("three"), rev, ttl)
	x.wantErr(err, callstore.ErrConflict)
	x.wantNone("another")
}

func remove(x *contract) {
	rev := x.create(key, "one")
	for _, wrong := range []uint64{0, rev + 1} {
		x.wantErr(x.Delete(x.Context(), key, wrong), callstore.ErrConflict)
	}
	x.want(key, "one", rev)
	if err := x.Delete(x.Context(), key, rev); err != nil {
		x.Fatal(err)
	}
	x.wantNone(key)
	for _, gone := range []uint64{0, rev} {
		x.wantErr(x.Delete(x.Context(), key, gone), callstore.ErrConflict)
	}
	_, err := x.Save(x.Context(), key, []byte("two"), rev, ttl)
	x.wantErr(err, callstore.ErrConflict)
	x.wantErr(x.Delete(x.Context(), "another", rev), callstore.ErrConflict)
}

func createAgain(x *contract) {
	var last uint64
	for range 3 {
		rev := x.create(key, "one")
		if rev <= last {
			x.Fatalf("revision %d comes after %d", rev, last)
		}
		x.want(key, "one", rev)
		if err := x.Delete(x.Context(), key, rev); err != nil {
			x.Fatal(err)
		}
		last = rev
	}
}

// life saves one of two records with a longer life, and waits for the other to
// end.
func life(x *contract) {
	short, err := x.Create(x.Context(), "short", []byte("one"), time.Millisecond) // a second, in whole seconds
	if err != nil {
		x.Fatal(err)
	}
	long, err := x.Create(x.Context(), "long", []byte("one"), time.Second)
	if err != nil {
		x.Fatal(err)
	}
	if long, err = x.Save(x.Context(), "long", []byte("two"), long, ttl); err != nil {
		x.Fatal(err)
	}
	x.eventually(func() bool {
		_, _, err := x.Load(x.Context(), "short")
		return errors.Is(err, callstore.ErrNotFound)
	})
	x.wantNone("short")
	_, err = x.Save(x.Context(), "short", []byte("two"), short, ttl)
	x.wantErr(err, callstore.ErrConflict)
	x.wantErr(x.Delete(x.Context(), "short", short), callstore.ErrConflict)
	x.want("long", "two", long)
	x.want("short", "again", x.create("short", "again"))
}

// eventually waits for what takes real time on a real server.
func (x *contract) eventually(ok func() bool) {
	x.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			x.Fatal("it did not happen within 10 s")
		}
	}
}

func tooLarge(x *contract) {
	most := strings.Repeat("x", x.c.RecordBytes)
	rev := x.create(key, most)
	x.want(key, most, rev)
	_, err := x.Create(x.Context(), "other", []byte(most+"x"), ttl)
	x.wantErr(err, callstore.ErrTooLarge)
	x.wantNone("other")
	_, err = x.Save(x.Context(), key, []byte(most+"x"), rev, ttl)
	x.wantErr(err, callstore.ErrTooLarge)
	x.want(key, most, rev)
}

func invalid(x *contract) {
	for _, key := range []string{"", ".", "a.", ".a", "a..b", "*", ">", "a b", "a\r\nb", "ä", strings.Repeat("a", 257)} {
		_, err := x.Create(x.Context(), key, []byte("one"), ttl)
		if !errors.Is(err, callstore.ErrInvalid) {
			x.Errorf("create %q: got error %v", key, err)
		}
		_, _, err = x.Load(x.Context(), key)
		x.wantErr(err, callstore.ErrInvalid)
		_, err = x.Save(x.Context(), key, []byte("one"), 1, ttl)
		x.wantErr(err, callstore.ErrInvalid)
		x.wantErr(x.Delete(x.Context(), key, 1), callstore.ErrInvalid)
	}
	_, err := x.Create(x.Context(), key, []byte("one"), 0)
	x.wantErr(err, callstore.ErrInvalid)
	_, err = x.Create(x.Context(), key, nil, ttl)
	x.wantErr(err, callstore.ErrInvalid)
	x.wantNone(key)
}

func keys(x *contract) {
	one := x.create("a", "one")
	two := x.create("a.b", "two")
	three := x.create("A", "three")
	if err := x.Delete(x.Context(), "a.b", two); err != nil {
		x.Fatal(err)
	}
	x.want("a", "one", one)
	x.want("A", "three", three)
	x.wantNone("a.b")
}

func ended(x *contract) {
	rev := x.create(key, "one")
	cancelled, cancel := context.WithCancel(x.Context())
	cancel()
	late, cancel := context.WithDeadline(x.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: cancelled, callstore.ErrUnavailable: late} {
		_, err := x.Create(ctx, "other", []byte("one"), ttl)
		x.wantErr(err, want)
		_, _, err = x.Load(ctx, key)
		x.wantErr(err, want)
		_, err = x.Save(ctx, key, []byte("two"), rev, ttl)
		x.wantErr(err, want)
		x.wantErr(x.Delete(ctx, key, rev), want)
	}
}

// oneCreator has many create the same record, over and over: exactly one may.
func oneCreator(x *contract) {
	const rivals = 8
	for round := range 20 {
		revs := make([]uint64, rivals)
		var all sync.WaitGroup
		for i := range rivals {
			all.Go(func() {
				rev, err := x.Create(x.Context(), key, []byte{byte(i)}, ttl)
				if err != nil && !errors.Is(err, callstore.ErrExists) {
					x.Errorf("create: %v", err)
				}
				revs[i] = rev
			})
		}
		all.Wait()
		won := 0
		for i, rev := range revs {
			if rev > 0 {
				won++
				x.want(key, string([]byte{byte(i)}), rev)
				if err := x.Delete(x.Context(), key, rev); err != nil {
					x.Fatal(err)
				}
			}
		}
		if won != 1 {
			x.Fatalf("round %d: %d created the record", round, won)
		}
	}
}

// counter has many raise the same number: none may be lost.
func counter(x *contract) {
	const rivals, each = 4, 25
	x.create(key, "\x01")
	var all sync.WaitGroup
	for range rivals {
		all.Go(func() {
			for range each {
				x.raise()
			}
		})
	}
	all.Wait()
	data, _, err := x.Load(x.Context(), key)
	if err != nil || data[0] != 1+rivals*each {
		x.Fatalf("the number is %v, err %v; want %d", data, err, 1+rivals*each)
	}
}

func (x *contract) raise() {
	for {
		data, rev, err := x.Load(x.Context(), key)
		if err != nil {
			x.Errorf("load: %v", err)
			return
		}
		data[0]++
		_, err = x.Save(x.Context(), key, data, rev, ttl)
		if err == nil {
			return
		}
		if !errors.Is(err, callstore.ErrConflict) {
			x.Errorf("save: %v", err)
			return
		}
	}
}

// listing: the keys of what is there, under a prefix, in no order.
func listing(x *contract) {
	list := func(prefix string) []string {
		got, err := x.Keys(x.Context(), prefix)
		if err != nil {
			x.Fatalf("keys of %s: %v", prefix, err)
		}
		slices.Sort(got)
		return got
	}
	if got := list("c."); len(got) != 0 {
		x.Fatalf("keys of nothing: %v", got)
	}
	var want []string
	for i := range 300 {
		k := fmt.Sprintf("c.call-%03d", i)
		x.create(k, "one")
		want = append(want, k)
	}
	x.create("p.pair", "one")
	x.create("c", "one")
	if got := list("c."); !slices.Equal(got, want) {
		x.Fatalf("%d keys, want %d: %v", len(got), len(want), got)
	}
	_, rev, _ := x.Load(x.Context(), want[0])
	if err := x.Delete(x.Context(), want[0], rev); err != nil {
		x.Fatal(err)
	}
	// What was there a moment ago may still be listed; what is there must be.
	if got := list("c."); !slices.Contains(got, want[1]) || len(got) > len(want) {
		x.Fatalf("after a removal: %d keys", len(got))
	}
	for _, wrong := range []string{"", "c", "c.*.", "c>."} {
		if _, err := x.Keys(x.Context(), wrong); !errors.Is(err, callstore.ErrInvalid) {
			x.Errorf("keys of %q: %v", wrong, err)
		}
	}
}
