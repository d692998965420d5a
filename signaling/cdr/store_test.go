package cdr_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"switchboard/directory/directorytest"
	"switchboard/signaling/cdr"
	"switchboard/signaling/cdr/cdrtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(tb testing.TB, js jetstream.JetStream, c cdr.Config) *cdr.Store {
	tb.Helper()
	s, err := cdr.Open(tb.Context(), c, js)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	cdrtest.Run(t, func(tb testing.TB) cdrtest.Store {
		return open(tb, directorytest.NATSIn(tb, tb.TempDir()).JetStream(), cdr.Default())
	})
}

func TestFake(t *testing.T) {
	cdrtest.Run(t, func(testing.TB) cdrtest.Store { return cdrtest.New() })
}

// Records are there after a restart, and a repeat is noticed all the same.
func TestRecordsOutliveTheServer(t *testing.T) {
	dir := t.TempDir()
	n := directorytest.NATSIn(t, dir)
	r := cdrtest.Call("c1")
	if err := open(t, n.JetStream(), cdr.Default()).Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := open(t, directorytest.NATSIn(t, dir).JetStream(), cdr.Default())
	if err := s.Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if p, err := s.List(t.Context(), cdr.Query{Limit: 10}); err != nil || len(p.Records) != 1 {
		t.Errorf("%d records, %v", len(p.Records), err)
	}
}

// An account with more calls than the server finds at once is looked for in the
// stream, page by page, and none is missing.
func TestMoreThanAreFoundAtOnce(t *testing.T) {
	js := directorytest.NATSIn(t, t.TempDir()).JetStream()
	s := open(t, js, cdr.Default())
	const n = 1100
	fill(t, js, n)
	seen := map[string]bool{}
	q := cdr.Query{Account: cdrtest.Bob, Limit: cdr.MaxPage}
	for pages := 0; pages == 0 || q.Before != 0; pages++ {
		p, err := s.List(t.Context(), q)
		if err != nil || pages > 5 {
			t.Fatal(err)
		}
		for _, r := range p.Records {
			seen[r.Call] = true
		}
		q.Before = p.Next
	}
	if len(seen) != n {
		t.Errorf("%d of %d calls", len(seen), n)
	}
	if p, err := s.List(t.Context(), cdr.Query{Call: "c7", Limit: 1}); err != nil || len(p.Records) != 1 || p.Records[0].Call != "c7" {
		t.Errorf("by id: %+v, %v", p, err)
	}
}

// fill has n calls from Alice to Bob, quickly.
func fill(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	for i := range n {
		r := cdrtest.Call(fmt.Sprint("c", i))
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishAsync(cdr.Subject(r), data); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("not written in a minute")
	}
}

// One page looks back through a bounded number of records, and the list goes on from
// there.
func TestOnePageLooksBackSoFar(t *testing.T) {
	js := directorytest.NATSIn(t, t.TempDir()).JetStream()
	s := open(t, js, cdr.Default())
	fill(t, js, 30)
	cdr.SetMaxScan(s, 10, 10)
	q, pages, found := cdr.Query{Region: "nowhere", Limit: 5}, 0, 0
	for ; pages == 0 || q.Before != 0; pages++ {
		p, err := s.List(t.Context(), q)
		if err != nil || pages > 5 {
			t.Fatal(err)
		}
		found, q.Before = found+len(p.Records), p.Next
	}
	if pages != 3 || found != 0 {
		t.Errorf("%d pages, %d records", pages, found)
	}
}

// What is no record, as the mark that a move leaves at the end, is left out.
func TestWhatCannotBeReadIsLeftOut(t *testing.T) {
	js := directorytest.NATSIn(t, t.TempDir()).JetStream()
	s := open(t, js, cdr.Default())
	for subject, data := range map[string]string{
		"cdr.migrated": "", "cdr.eu." + cdrtest.Alice + "._.x.1": "no JSON", "cdr.eu." + cdrtest.Alice + "._.y.1": `{"v":99}`, "cdr.eu." + cdrtest.Alice + "._.z.1": "",
	} {
		if _, err := js.Publish(t.Context(), subject, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, js, 1)
	for _, q := range []cdr.Query{{Limit: 10}, {Limit: 10, Account: cdrtest.Alice}} {
		if p, err := s.List(t.Context(), q); err != nil || len(p.Records) != 1 {
			t.Errorf("%d records, %v", len(p.Records), err)
		}
	}
}

// What operators change counts from the next start on; without age there is no store.
func TestAgeAndNumberAreSet(t *testing.T) {
	js := directorytest.NATSIn(t, t.TempDir()).JetStream()
	c := cdr.Default()
	open(t, js, c)
	c.Age, c.Records = 24*time.Hour, 1000
	s := open(t, js, c)
	stream, err := js.Stream(t.Context(), "CDR")
	if err != nil {
		t.Fatal(err)
	}
	if have := stream.CachedInfo().Config; have.MaxAge != c.Age || have.MaxMsgs != 1000 || have.Duplicates != 20*time.Minute {
		t.Errorf("the stream has %+v", have)
	}
	fill(t, js, 1010)
	if err := s.Write(t.Context(), cdrtest.Call("newest")); err != nil {
		t.Fatal(err)
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs != 1000 {
		t.Errorf("%d records, %v", info.State.Msgs, err)
	}
	if p, err := s.List(t.Context(), cdr.Query{Limit: 1}); err != nil || len(p.Records) != 1 || p.Records[0].Call != "newest" {
		t.Errorf("%+v, %v", p, err)
	}
	c.Age = 0
	if _, err := cdr.Open(t.Context(), c, js); err == nil || c.Validate() != nil {
		t.Errorf("without age: %v, %v", err, c.Validate())
	}
}

func TestValidate(t *testing.T) {
	if err := cdr.Default().Validate(); err != nil {
		t.Error(err)
	}
	err := cdr.Config{Age: time.Minute, Records: 1}.Validate()
	for _, want := range []string{"cdr.age", "cdr.records", "cdr.timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// Without a server, operations end with an error in time.
func TestServerIsAway(t *testing.T) {
	n := directorytest.NATSIn(t, t.TempDir())
	c := cdr.Default()
	c.Timeout = 200 * time.Millisecond
	s := open(t, n.JetStream(), c)
	if err := n.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), cdrtest.Call("c1")); !errors.Is(err, cdr.ErrUnavailable) {
		t.Errorf("write: %v", err)
	}
	for _, q := range []cdr.Query{{Limit: 1}, {Limit: 1, Account: cdrtest.Bob}} {
		if _, err := s.List(t.Context(), q); !errors.Is(err, cdr.ErrUnavailable) {
			t.Errorf("list: %v", err)
		}
	}
}

// Subjects hold nothing that a client has chosen.
func TestSubject(t *testing.T) {
	r := cdrtest.Call("14155550101")
	r.Region, r.Callee.Account, r.Created = "Not a region", "", time.UnixMilli(36*36)
	got := cdr.Subject(r)
	if strings.Contains(got, "415555") || !strings.HasPrefix(got, "cdr._."+cdrtest.Alice+"._.") || !strings.HasSuffix(got, ".100") || strings.Count(got, ".") != 5 {
		t.Errorf("subject %q", got)
	}
}
