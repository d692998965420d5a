package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"switchboard/signaling/mailbox"
	"switchboard/signaling/mailbox/mailboxtest"
)

var phone = mailbox.Box{Account: "0a1b2c3d4e5f6", Device: 1}

func open(tb testing.TB, js jetstream.JetStream, c mailbox.Config) *mailbox.Store {
	tb.Helper()
	s, err := mailbox.Open(tb.Context(), js, c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func start(tb testing.TB, c mailbox.Config) *mailbox.Store {
	tb.Helper()
	js, _ := mailbox.StartNATS(tb, tb.TempDir())
	return open(tb, js, c)
}

func entries(b mailbox.Box, n int) (all []mailbox.Entry) {
	for i := range n {
		all = append(all, mailbox.Entry{Box: b, ID: fmt.Sprint("item ", i), Data: fmt.Append(nil, "data ", i)})
	}
	return all
}

func put(tb testing.TB, s *mailbox.Store, all ...mailbox.Entry) []uint64 {
	tb.Helper()
	seqs, err := s.Put(tb.Context(), all...)
	if err != nil {
		tb.Fatal(err)
	}
	return seqs
}

func wantItems(tb testing.TB, s *mailbox.Store, b mailbox.Box, want ...uint64) {
	tb.Helper()
	items, more, err := s.Read(tb.Context(), b, 0, 0)
	if err != nil || more {
		tb.Fatalf("read: more %v, err %v", more, err)
	}
	var got []uint64
	for _, it := range items {
		got = append(got, it.Seq)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Fatalf("items in the box (-want +got):\n%s", diff)
	}
}

func TestContract(t *testing.T) {
	mailboxtest.Run(t, func(tb testing.TB, c mailbox.Config) mailboxtest.Mailbox { return start(tb, c) })
}

func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	js, stop := mailbox.StartNATS(t, dir)
	s := open(t, js, mailbox.Default())
	all := entries(phone, 10)
	seqs := put(t, s, all...)
	brief := put(t, s, mailbox.Entry{Box: phone, ID: "brief", Data: []byte("x"), TTL: time.Second})
	if err := s.Ack(t.Context(), phone, seqs[3]); err != nil {
		t.Fatal(err)
	}
	stop()

	js, _ = mailbox.StartNATS(t, dir)
	s = open(t, js, mailbox.Default())
	items, _, err := s.Read(t.Context(), phone, 0, 0)
	if err != nil || len(items) < 6 || string(items[0].Data) != "data 4" {
		t.Fatalf("after the restart: %d items, err %v", len(items), err)
	}
	if again := put(t, s, all[7]); again[0] != seqs[7] {
		t.Errorf("a repeat got %d, want %d", again[0], seqs[7])
	}
	mailbox.Eventually(t, func() error {
		if tail, err := s.Tail(t.Context(), phone); err != nil || tail == brief[0] {
			return fmt.Errorf("tail is %d, err %v", tail, err)
		}
		return nil
	})
	later := put(t, s, mailbox.Entry{Box: phone, ID: "later", Data: []byte("x")})
	if later[0] <= brief[0] {
		t.Errorf("number %d was given after %d", later[0], brief[0])
	}
	wantItems(t, s, phone, append(seqs[4:], later...)...)
}

func TestOtherNumberOfStreamsIsRefused(t *testing.T) {
	js, _ := mailbox.StartNATS(t, t.TempDir())
	c := mailbox.Default()
	open(t, js, c)
	for _, n := range []int{1, 3, 8} {
		c.Streams = n
		_, err := mailbox.Open(t.Context(), js, c)
		if !errors.Is(err, mailbox.ErrStreams) || !strings.Contains(err.Error(), "set mailbox.streams: 4") {
			t.Errorf("open with %d streams: got error %v", n, err)
		}
	}
	c.Streams = 4
	open(t, js, c)
}

func TestForeignStreamIsRefused(t *testing.T) {
	js, _ := mailbox.StartNATS(t, t.TempDir())
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "INBOX_0", Subjects: []string{"inbox.>"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mailbox.Open(t.Context(), js, mailbox.Default()); !errors.Is(err, mailbox.ErrStreams) {
		t.Errorf("got error %v", err)
	}
}

func TestLimitsFollowTheConfiguration(t *testing.T) {
	js, _ := mailbox.StartNATS(t, t.TempDir())
	c := mailbox.Default()
	c.Items = 5
	s := open(t, js, c)
	seqs := put(t, s, entries(phone, 5)...)
	if _, err := s.Put(t.Context(), entries(phone, 6)...); !errors.Is(err, mailbox.ErrFull) {
		t.Fatalf("got error %v", err)
	}
	c.Items, c.ItemBytes = 6, 100<<10
	s = open(t, js, c)
	large := put(t, s, mailbox.Entry{Box: phone, ID: "large", Data: make([]byte, 100<<10)})
	wantItems(t, s, phone, append(seqs, large...)...)
}

func TestBadConfig(t *testing.T) {
	js, _ := mailbox.StartNATS(t, t.TempDir())
	_, err := mailbox.Open(t.Context(), js, mailbox.Config{Replicas: 2})
	for _, key := range []string{"streams", "items", "age", "item_bytes", "replicas", "timeout"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("the error does not name %s: %v", key, err)
		}
	}
}

// TestReadIsBounded reads a mailbox that is larger than one answer may be.
func TestReadIsBounded(t *testing.T) {
	s := start(t, mailbox.Default())
	all := entries(phone, 40)
	for i := range all {
		all[i].Data = make([]byte, 64<<10)
	}
	seqs := put(t, s, all...)
	var got []uint64
	for after, more := uint64(0), true; more; {
		items, m, err := s.Read(t.Context(), phone, after, 0)
		if err != nil || len(items) == 0 || len(items) > 17 {
			t.Fatalf("%d items of 64 KiB, err %v", len(items), err)
		}
		for _, it := range items {
			after, got = it.Seq, append(got, it.Seq)
		}
		more = m
	}
	if diff := cmp.Diff(seqs, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

// TestManyEntries puts more than one window at once, to many boxes.
func TestManyEntries(t *testing.T) {
	c := mailbox.Default()
	c.Items = 3
	s := start(t, c)
	var all []mailbox.Entry
	for i := range 300 {
		b := mailbox.Box{Account: fmt.Sprint("account", i%100), Device: 7}
		all = append(all, mailbox.Entry{Box: b, ID: fmt.Sprint(i), Data: []byte("x")})
	}
	all = append(all, mailbox.Entry{Box: all[5].Box, ID: "full", Data: []byte("x")})
	seqs, err := s.Put(t.Context(), all...)
	var which *mailbox.EntryError
	if !errors.As(err, &which) || which.Index != 300 || !errors.Is(err, mailbox.ErrFull) {
		t.Fatalf("got error %v", err)
	}
	for i := range 100 {
		wantItems(t, s, all[i].Box, seqs[i], seqs[i+100], seqs[i+200])
	}
}

func TestDropAccount(t *testing.T) {
	js, _ := mailbox.StartNATS(t, t.TempDir())
	s := open(t, js, mailbox.Default())
	second := mailbox.Box{Account: phone.Account, Device: 4294967295}
	other := mailbox.Box{Account: phone.Account + "x", Device: phone.Device}
	for _, b := range []mailbox.Box{phone, second, other} {
		put(t, s, entries(b, 3)...)
	}
	for range 2 {
		if err := s.DropAccount(t.Context(), phone.Account); err != nil {
			t.Fatal(err)
		}
	}
	for b, want := range map[mailbox.Box]int{phone: 0, second: 0, other: 3} {
		items, _, err := s.Read(t.Context(), b, 0, 10)
		if err != nil || len(items) != want {
			t.Errorf("box of device %d: %d items, %v; want %d", b.Device, len(items), err, want)
		}
	}
	for _, account := range []string{"", "*", ">", "a.b", "a b"} {
		if err := s.DropAccount(t.Context(), account); !errors.Is(err, mailbox.ErrInvalid) {
			t.Errorf("account %q: %v", account, err)
		}
	}
}

func TestWithoutNATS(t *testing.T) {
	js, stop := mailbox.StartNATS(t, t.TempDir())
	s := open(t, js, mailbox.Default())
	put(t, s, entries(phone, 1)...)
	stop()
	_, err := s.Put(t.Context(), entries(phone, 2)...)
	wantUnavailable(t, err)
	_, _, err = s.Read(t.Context(), phone, 0, 0)
	wantUnavailable(t, err)
	_, err = s.Tail(t.Context(), phone)
	wantUnavailable(t, err)
	wantUnavailable(t, s.Ack(t.Context(), phone, 1))
	wantUnavailable(t, s.Drop(t.Context(), phone))
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, mailbox.ErrUnavailable) {
		t.Errorf("got error %v", err)
	}
}

// TestStreamGone has the server run without the stream, so that nobody listens.
func TestStreamGone(t *testing.T) {
	js, _ := mailbox.StartNATS(t, t.TempDir())
	c := mailbox.Default()
	c.Streams, c.Timeout = 1, 50*time.Millisecond
	s := open(t, js, c)
	if err := js.DeleteStream(t.Context(), "INBOX_0"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(t.Context(), entries(phone, 2)...)
	wantUnavailable(t, err)
	_, _, err = s.Read(t.Context(), phone, 0, 0)
	wantUnavailable(t, err)
	_, err = s.Tail(t.Context(), phone)
	wantUnavailable(t, err)
	wantUnavailable(t, s.Ack(t.Context(), phone, 1))
}

// TestPutWaitsForTheStream takes the stream away and brings it back while a
// put is under way.
func TestPutWaitsForTheStream(t *testing.T) {
	js, _ := mailbox.StartNATS(t, t.TempDir())
	c := mailbox.Default()
	c.Streams = 1
	s := open(t, js, c)
	if err := js.DeleteStream(t.Context(), "INBOX_0"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := s.Put(t.Context(), entries(phone, 2)...)
		done <- err
	}()
	open(t, js, c)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if items, _, err := s.Read(t.Context(), phone, 0, 0); err != nil || len(items) != 2 {
		t.Fatalf("%d items, err %v", len(items), err)
	}
}

func TestClosed(t *testing.T) {
	js, _ := mailbox.StartNATS(t, t.TempDir())
	c := mailbox.Default()
	c.Timeout = 50 * time.Millisecond
	s := open(t, js, c)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(t.Context(), entries(phone, 1)...)
	wantUnavailable(t, err)
	if n := js.Conn().NumSubscriptions(); n > 1 { // the connection's own, for answers
		t.Errorf("%d subscriptions are left", n)
	}
}

func TestMetrics(t *testing.T) {
	s := start(t, mailbox.Default())
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s)
	put(t, s, entries(phone, 1)...)
	if _, err := s.Put(t.Context(), mailbox.Entry{}); !errors.Is(err, mailbox.ErrInvalid) {
		t.Fatalf("got error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Tail(ctx, phone); !errors.Is(err, context.Canceled) {
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
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"switchboard_mailbox_operations_total put ok":        1,
		"switchboard_mailbox_operations_total put invalid":   1,
		"switchboard_mailbox_operations_total tail canceled": 1,
		"switchboard_mailbox_operation_seconds put":          2,
		"switchboard_mailbox_operation_seconds tail":         1,
		"switchboard_mailbox_requests_pending":               0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
