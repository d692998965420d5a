package callstore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"switchboard/signaling/callstore"
	"switchboard/signaling/callstore/callstoretest"
)

func open(tb testing.TB, js jetstream.JetStream, c callstore.Config) *callstore.Store {
	tb.Helper()
	s, err := callstore.Open(tb.Context(), js, c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func start(tb testing.TB, c callstore.Config) *callstore.Store {
	tb.Helper()
	js, _ := callstore.StartNATS(tb, tb.TempDir())
	return open(tb, js, c)
}

func create(tb testing.TB, s *callstore.Store, key, data string) uint64 {
	tb.Helper()
	rev, err := s.Create(tb.Context(), key, []byte(data), time.Minute)
	if err != nil {
		tb.Fatal(err)
	}
	return rev
}

func TestContract(t *testing.T) {
	callstoretest.Run(t, func(tb testing.TB, c callstore.Config) callstoretest.Calls { return start(tb, c) })
}

func TestRestartKeepsRecords(t *testing.T) {
	dir := t.TempDir()
	js, stop := callstore.StartNATS(t, dir)
	s := open(t, js, callstore.Default())
	kept, gone := create(t, s, "kept", "one"), create(t, s, "gone", "one")
	if err := s.Delete(t.Context(), "gone", gone); err != nil {
		t.Fatal(err)
	}
	stop()

	js, _ = callstore.StartNATS(t, dir)
	s = open(t, js, callstore.Default())
	data, rev, err := s.Load(t.Context(), "kept")
	if err != nil || string(data) != "one" || rev != kept {
		t.Fatalf("load: %q, revision %d, err %v; want revision %d", data, rev, err, kept)
	}
	if _, err := s.Save(t.Context(), "kept", []byte("two"), rev, time.Minute); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Load(t.Context(), "gone"); !errors.Is(err, callstore.ErrNotFound) {
		t.Errorf("got error %v", err)
	}
}

// TestKeyValueClientsUnderstand looks into the bucket as an operator's tool does.
func TestKeyValueClientsUnderstand(t *testing.T) {
	js, _ := callstore.StartNATS(t, t.TempDir())
	s := open(t, js, callstore.Default())
	rev := create(t, s, "a.b", "one")
	gone := create(t, s, "gone", "one")
	if err := s.Delete(t.Context(), "gone", gone); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "CALLS")
	if err != nil {
		t.Fatal(err)
	}
	e, err := kv.Get(t.Context(), "a.b")
	if err != nil || string(e.Value()) != "one" || e.Revision() != rev {
		t.Fatalf("got %v, err %v", e, err)
	}
	if _, err := kv.Get(t.Context(), "gone"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("got error %v", err)
	}
	if err := kv.Delete(t.Context(), "a.b"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Load(t.Context(), "a.b"); !errors.Is(err, callstore.ErrNotFound) {
		t.Errorf("got error %v", err)
	}
	create(t, s, "a.b", "again")
}

func TestLimitsFollowTheConfiguration(t *testing.T) {
	js, _ := callstore.StartNATS(t, t.TempDir())
	c := callstore.Default()
	c.RecordBytes = 100
	open(t, js, c)
	c.RecordBytes = 10_000
	s := open(t, js, c)
	create(t, s, "large", strings.Repeat("x", 10_000))
}

func TestReplicasNeedAnotherBucket(t *testing.T) {
	js, _ := callstore.StartNATS(t, t.TempDir())
	c := callstore.Default()
	open(t, js, c)
	c.Replicas = 3
	_, err := callstore.Open(t.Context(), js, c)
	if err == nil || !strings.Contains(err.Error(), "remove the stream KV_CALLS") {
		t.Errorf("got error %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	js, _ := callstore.StartNATS(t, t.TempDir())
	_, err := callstore.Open(t.Context(), js, callstore.Config{Bucket: "a.b"})
	for _, key := range []string{"bucket", "replicas", "record_bytes", "timeout"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("the error does not name %s: %v", key, err)
		}
	}
}

func TestWithoutNATS(t *testing.T) {
	js, stop := callstore.StartNATS(t, t.TempDir())
	s := open(t, js, callstore.Default())
	rev := create(t, s, "a", "one")
	stop()
	wantUnavailable(t, s, "a", rev)
}

// TestBucketGone has the server run without the bucket, so that nobody listens.
func TestBucketGone(t *testing.T) {
	js, _ := callstore.StartNATS(t, t.TempDir())
	c := callstore.Default()
	c.Timeout = 50 * time.Millisecond
	s := open(t, js, c)
	if err := js.DeleteStream(t.Context(), "KV_CALLS"); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, s, "a", 1)
}

func wantUnavailable(t *testing.T, s *callstore.Store, key string, rev uint64) {
	t.Helper()
	_, createErr := s.Create(t.Context(), key, []byte("one"), time.Minute)
	_, _, loadErr := s.Load(t.Context(), key)
	_, saveErr := s.Save(t.Context(), key, []byte("one"), rev, time.Minute)
	for what, err := range map[string]error{
		"create": createErr, "load": loadErr, "save": saveErr, "delete": s.Delete(t.Context(), key, rev),
	} {
		if !errors.Is(err, callstore.ErrUnavailable) {
			t.Errorf("%s: got error %v", what, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := start(t, callstore.Default())
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s)
	create(t, s, "a", "one")
	if _, _, err := s.Load(t.Context(), "b"); !errors.Is(err, callstore.ErrNotFound) {
		t.Fatalf("got error %v", err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for _, name := range []string{
		"switchboard_callstore_operations_total create ok",
		"switchboard_callstore_operations_total load not_found",
		"switchboard_callstore_operation_seconds create",
	} {
		if got[name] != 1 {
			t.Errorf("%s is %v, want 1; all: %v", name, got[name], got)
		}
	}
}
