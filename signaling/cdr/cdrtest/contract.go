package cdrtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/signaling/cdr"
	"switchboard/signaling/protocol"
)

// Store is what an implementation offers.
type Store interface {
	Write(ctx context.Context, r cdr.Record) error
	List(ctx context.Context, q cdr.Query) (cdr.Page, error)
}

var (
	_ Store = (*cdr.Store)(nil)
	_ Store = (*Fake)(nil)
)

// Alice and Bob are accounts, Carol one that nobody calls.
const (
	Alice = "0000000000001"
	Bob   = "0000000000002"
	Carol = "0000000000003"
)

// Call is the record of an answered call from Alice to Bob, which ended now.
func Call(id string) cdr.Record {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return cdr.Record{
		V: cdr.Version, Call: id, Region: "eu", Media: []protocol.Media{protocol.Audio},
		Caller: cdr.Side{
			Account: Alice, Device: 1, FirstMediaMS: new(int64(70)),
			Path:    &protocol.Path{Local: "relay", Remote: "srflx", Protocol: "udp", Relay: "tls", Server: "relay.example:443"},
			Quality: &cdr.Quality{Received: 900, Loss: 0.1, JitterMS: 3, RTTMS: 40, MOS: 3.1},
		},
		Callee:  cdr.Side{Account: Bob, Device: 2, Path: &protocol.Path{Local: "host", Remote: "relay", Protocol: "udp"}},
		Created: now.Add(-time.Minute), RingingMS: new(int64(0)), AnsweredMS: new(int64(5000)), ConnectedMS: new(int64(5300)),
		Ended: now, TalkedMS: 55_000, Reason: protocol.ReasonHangup, EndedBy: protocol.Callee, Path: cdr.Relayed, Moves: 1,
	}
}

// Run tests what every implementation promises. open returns an empty store.
func Run(t *testing.T, open func(tb testing.TB) Store) {
	for name, test := range map[string]func(t *testing.T, s Store){
		"as it was written": asWritten,
		"once":              once,
		"wanted":            wanted,
		"pages":             pages,
		"ended context":     endedContext,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func write(t *testing.T, s Store, records ...cdr.Record) {
	t.Helper()
	for _, r := range records {
		if err := s.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t *testing.T, s Store, q cdr.Query) []cdr.Record {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = cdr.MaxPage
	}
	p, err := s.List(t.Context(), q)
	if err != nil || p.Next != 0 {
		t.Fatalf("list: %v; it goes on at %d", err, p.Next)
	}
	return p.Records
}

func calls(records []cdr.Record) (ids []string) {
	for _, r := range records {
		ids = append(ids, r.Call)
	}
	return ids
}

func asWritten(t *testing.T, s Store) {
	if got := list(t, s, cdr.Query{}); len(got) != 0 {
		t.Errorf("an empty store has %v", got)
	}
	missed := cdr.Record{V: cdr.Version, Call: "c2", Caller: cdr.Side{Account: Alice, Device: 1}, KeptFrom: Bob,
		Media: []protocol.Media{protocol.Video}, Created: Call("").Created, Ended: Call("").Ended, Reason: protocol.ReasonNoAnswer, Path: cdr.NoPath}
	want := []cdr.Record{missed, Call("c1")}
	write(t, s, want[1], want[0])
	if diff := cmp.Diff(want, list(t, s, cdr.Query{})); diff != "" {
		t.Errorf("written (-), read (+):\n%s", diff)
	}
}

// A call that is told again has one record, the first. Another call of the same id
// has one of its own.
func once(t *testing.T, s Store) {
	first, again, other := Call("c1"), Call("c1"), Call("c1")
	again.Created, again.TalkedMS = first.Created, 1
	other.Created = first.Created.Add(time.Hour)
	write(t, s, first, again, other, other)
	for _, q := range []cdr.Query{{}, {Call: "c1"}, {Account: Bob}} {
		got := list(t, s, q)
		if len(got) != 2 || !got[0].Created.Equal(other.Created) || got[1].TalkedMS != first.TalkedMS {
			t.Errorf("%+v: %d records: %+v", q, len(got), got)
		}
	}
}

func wanted(t *testing.T, s Store) {
	begun := time.Now().UTC().Truncate(time.Millisecond)
	back := Call("back")
	back.Caller.Account, back.Callee.Account, back.Region, back.Ended = Bob, Alice, "us", begun.Add(-time.Hour)
	direct := Call("direct")
	direct.Path, direct.Callee.Account, direct.Reason = cdr.Direct, Carol, protocol.ReasonICEFailed
	nobody := Call("nobody")
	nobody.Callee, nobody.Path, nobody.Region, nobody.Reason, nobody.KeptFrom = cdr.Side{}, cdr.NoPath, "", protocol.ReasonNoAnswer, Carol
	write(t, s, back, direct, nobody)
	for _, test := range []struct {
		name string
		q    cdr.Query
		want []string
	}{
		{"all, the newest first", cdr.Query{}, []string{"nobody", "direct", "back"}},
		{"of the one who called, or was called", cdr.Query{Account: Alice}, []string{"nobody", "direct", "back"}},
		{"of the other", cdr.Query{Account: Bob}, []string{"back"}},
		{"not those that somebody was kept from", cdr.Query{Account: Carol}, []string{"direct"}},
		{"of nobody", cdr.Query{Account: "000000000000v"}, nil},
		{"no account", cdr.Query{Account: "*"}, nil},
		{"by id", cdr.Query{Call: "direct"}, []string{"direct"}},
		{"by id and account", cdr.Query{Call: "direct", Account: Bob}, nil},
		{"an unknown id", cdr.Query{Call: "*"}, nil},
		{"by region", cdr.Query{Region: "us"}, []string{"back"}},
		{"by region and account", cdr.Query{Region: "eu", Account: Alice}, []string{"direct"}},
		{"by reason", cdr.Query{Reason: protocol.ReasonNoAnswer}, []string{"nobody"}},
		{"by path", cdr.Query{Path: cdr.Direct}, []string{"direct"}},
		{"by path and account", cdr.Query{Path: cdr.Relayed, Account: Alice}, []string{"back"}},
		{"since", cdr.Query{Since: begun.Add(-time.Minute)}, []string{"nobody", "direct"}},
		{"until", cdr.Query{Until: begun.Add(-time.Minute)}, []string{"back"}},
		{"since and until, both included", cdr.Query{Since: back.Ended, Until: back.Ended, Account: Bob}, []string{"back"}},
		{"after all", cdr.Query{Since: begun.Add(time.Hour)}, nil},
	} {
		if diff := cmp.Diff(test.want, calls(list(t, s, test.q))); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", test.name, diff)
		}
	}
}

func pages(t *testing.T, s Store) {
	var want []string
	for i := range 25 {
		r := Call(fmt.Sprint("c", i))
		if i%5 == 0 {
			r.Caller.Account = Carol
		}
		want = append(want, r.Call)
		write(t, s, r)
	}
	slices.Reverse(want)
	for _, limit := range []int{1, 7, 25, 26} {
		for _, account := range []string{"", Bob} {
			var got []string
			q := cdr.Query{Account: account, Limit: limit}
			for n := 0; n == 0 || q.Before != 0; n++ {
				p, err := s.List(t.Context(), q)
				if err != nil || len(p.Records) > limit || n > 25 {
					t.Fatalf("page %d of %d: %d records, %v", n, limit, len(p.Records), err)
				}
				got, q.Before = append(got, calls(p.Records)...), p.Next
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("by %d of %q: want (-), got (+):\n%s", limit, account, diff)
			}
		}
	}
}

func endedContext(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Write(ctx, Call("c1")); !errors.Is(err, cdr.ErrUnavailable) {
		t.Errorf("write: %v", err)
	}
	if _, err := s.List(ctx, cdr.Query{Limit: 1}); !errors.Is(err, cdr.ErrUnavailable) {
		t.Errorf("list: %v", err)
	}
}
