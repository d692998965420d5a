package callstoretest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"switchboard/signaling/callstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFake(t *testing.T) {
	Run(t, func(_ testing.TB, c callstore.Config) Calls { return NewWith(c) })
}

func TestFakeInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New()
		x := &contract{t, f, callstore.Default()}
		rev := x.create(key, "one")
		time.Sleep(ttl - 1)
		rev, err := x.Save(x.Context(), key, []byte("two"), rev, ttl)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(ttl - 1)
		x.want(key, "two", rev)
		time.Sleep(time.Nanosecond)
		x.wantNone(key)
		if n := f.Len(); n != 0 {
			t.Errorf("%d records are left", n)
		}
	})
}

func TestFakeFails(t *testing.T) {
	f := New()
	f.Fail(callstore.ErrUnavailable)
	if _, err := f.Create(t.Context(), key, []byte("one"), ttl); !errors.Is(err, callstore.ErrUnavailable) {
		t.Errorf("create: got error %v", err)
	}
	f.Fail(nil)
	if _, err := f.Create(t.Context(), key, []byte("one"), ttl); err != nil {
		t.Error(err)
	}
}
