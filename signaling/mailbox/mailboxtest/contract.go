package mailboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/signaling/mailbox"
)

// Mailbox is what an implementation offers.
type Mailbox interface {
	Put(ctx context.Context, entries ...mailbox.Entry) ([]uint64, error)
	Read(ctx context.Context, b mailbox.Box, after uint64, limit int) ([]mailbox.Item, bool, error)
	Tail(ctx context.Context, b mailbox.Box) (uint64, error)
	Count(ctx context.Context, b mailbox.Box) (int, error)
	Ack(ctx context.Context, b mailbox.Box, upto uint64) error
	Drop(ctx context.Context, b mailbox.Box) error
}

var (
	_ Mailbox = (*mailbox.Store)(nil)
	_ Mailbox = (*Fake)(nil)
)

var (
	phone  = mailbox.Box{Account: "0a1b2c3d4e5f6", Device: 1}
	laptop = mailbox.Box{Account: "0a1b2c3d4e5f6", Device: 11}
	friend = mailbox.Box{Account: "v9u8t7s6r5q4p", Device: 1}
)

// Run tests what every implementation promises. open returns empty mailboxes
// with the limits of c.
func Run(t *testing.T, open func(tb testing.TB, c mailbox.Config) Mailbox) {
	for name, test := range map[string]func(x *contract){
		"order":             order,
		"pages":             pages,
		"boxes are apart":   apart,
		"repeats":           repeats,
		"conflicts":         conflicts,
		"full":              full,
		"too large":         tooLarge,
		"invalid":           invalid,
		"life":              life,
		"ack":               ack,
		"ack of everything": ackEverything,
		"drop":              drop,
		"empty box":         empty,
		"data is copied":    copied,
		"ended context":     ended,
		"at once":           atOnce,
	} {
		t.Run(name, func(t *testing.T) {
			c := mailbox.Default()
			c.Items, c.ItemBytes = 50, 4<<10
			test(&contract{t, open(t, c), c})
		})
	}
}

// contract is a test on one implementation.
type contract struct {
	*testing.T
	Mailbox
	c mailbox.Config
}

func entry(b mailbox.Box, id string) mailbox.Entry {
	return mailbox.Entry{Box: b, ID: id, Data: []byte("data of " + id)}
}

func (x *contract) put(entries ...mailbox.Entry) []uint64 {
	x.Helper()
	seqs, err := x.Put(x.Context(), entries...)
	if err != nil {
		x.Fatalf("put: %v", err)
	}
	return seqs
}

// fill puts n items and returns their sequence numbers.
func (x *contract) fill(b mailbox.Box, n int) []uint64 {
	x.Helper()
	var entries []mailbox.Entry
	for i := range n {
		entries = append(entries, entry(b, fmt.Sprint("item ", i)))
	}
	return x.put(entries...)
}

// want checks that the box has exactly the items with these numbers.
func (x *contract) want(b mailbox.Box, seqs ...uint64) []mailbox.Item {
	x.Helper()
	items, more, err := x.Read(x.Context(), b, 0, 0)
	if err != nil || more {
		x.Fatalf("read: more %v, err %v", more, err)
	}
	if diff := cmp.Diff(seqs, numbers(items)); diff != "" {
		x.Fatalf("items in the box (-want +got):\n%s", diff)
	}
	tail, err := x.Tail(x.Context(), b)
	if err != nil {
		x.Fatalf("tail: %v", err)
	}
	if n := len(seqs); n > 0 && tail != seqs[n-1] || n == 0 && tail != 0 {
		x.Fatalf("tail is %d, the items are %v", tail, seqs)
	}
	if n, err := x.Count(x.Context(), b); n != len(seqs) || err != nil {
		x.Fatalf("counted %d items, %v; there are %d", n, err, len(seqs))
	}
	return items
}

func numbers(items []mailbox.Item) (seqs []uint64) {
	for _, it := range items {
		seqs = append(seqs, it.Seq)
	}
	return seqs
}

func (x *contract) wantErr(err, want error) {
	x.Helper()
	if !errors.Is(err, want) {
		x.Fatalf("got error %v, want %v", err, want)
	}
}

func order(x *contract) {
	before := time.Now().Add(-time.Minute)
	seqs := x.fill(phone, 20)
	items := x.want(phone, seqs...)
	for i, it := range items {
		if want := fmt.Sprint("data of item ", i); string(it.Data) != want {
			x.Errorf("item %d: got %q, want %q", i, it.Data, want)
		}
		if i > 0 && it.Seq <= items[i-1].Seq {
			x.Errorf("item %d: seq %d comes after %d", i, it.Seq, items[i-1].Seq)
		}
		if it.Time.Before(before) || it.Time.After(time.Now().Add(time.Minute)) {
			x.Errorf("item %d: stored at %v, now is %v", i, it.Time, time.Now())
		}
	}
}

func pages(x *contract) {
	seqs := x.fill(phone, 25)
	var got []uint64
	for after, more, n := uint64(0), true, 0; more; n++ {
		items, m, err := x.Read(x.Context(), phone, after, 10)
		if err != nil || len(items) == 0 || len(items) > 10 || n > 3 {
			x.Fatalf("page %d: %d items, more %v, err %v", n, len(items), m, err)
		}
		got = append(got, numbers(items)...)
		after, more = items[len(items)-1].Seq, m
	}
	if diff := cmp.Diff(seqs, got); diff != "" {
		x.Fatalf("pages together (-want +got):\n%s", diff)
	}
	items, more, err := x.Read(x.Context(), phone, seqs[14], 10)
	if err != nil || more || len(items) != 10 {
		x.Fatalf("last page: %d items, more %v, err %v; want 10 and no more", len(items), more, err)
	}
	items, more, err = x.Read(x.Context(), phone, seqs[24], 1)
	if err != nil || more || len(items) != 0 {
		x.Fatalf("after the end: %d items, more %v, err %v", len(items), more, err)
	}
	if _, more, err = x.Read(x.Context(), phone, 0, 1); err != nil || !more {
		x.Fatalf("the first of many: more %v, err %v", more, err)
	}
}

func apart(x *contract) {
	seqs := x.put(entry(phone, "a"), entry(laptop, "a"), entry(friend, "a"), entry(phone, "b"))
	x.want(phone, seqs[0], seqs[3])
	x.want(laptop, seqs[1])
	x.want(friend, seqs[2])
	if err := x.Ack(x.Context(), phone, math.MaxUint32); err != nil {
		x.Fatal(err)
	}
	x.want(phone)
	x.want(laptop, seqs[1])
	x.want(friend, seqs[2])
}

// conflicts repeats an ID with other sums.
func conflicts(x *contract) {
	e := func(id, sum string) mailbox.Entry {
		return mailbox.Entry{Box: phone, ID: id, Data: []byte(sum), Sum: sum}
	}
	first := x.put(e("m", "one"), e("bare", ""))
	if again := x.put(e("m", "one"), e("m", ""), e("bare", "two")); again[0] != first[0] || again[1] != first[0] || again[2] != first[1] {
		x.Errorf("repeats got %v, want the numbers of the first, %v", again, first)
	}
	seqs, err := x.Put(x.Context(), e("n", "one"), e("m", "two"), e("o", "one"))
	var ee *mailbox.EntryError
	if !errors.Is(err, mailbox.ErrConflict) || !errors.As(err, &ee) || ee.Index != 1 || seqs[0] == 0 || seqs[1] != 0 || seqs[2] == 0 {
		x.Errorf("another sum: %v, %v; want a conflict of the second alone", seqs, err)
	}
	if err := x.Ack(x.Context(), phone, seqs[2]); err != nil {
		x.Fatal(err)
	}
	if late := x.put(e("m", "two")); late[0] != first[0] {
		x.Errorf("after the ack it got %d, want %d", late[0], first[0])
	}
	_, err = x.Put(x.Context(), e("p", "not plain"))
	x.wantErr(err, mailbox.ErrInvalid)
}

func repeats(x *contract) {
	first := x.put(entry(phone, "a"), entry(phone, "b"))
	again := x.put(entry(phone, "b"), entry(phone, "a"), entry(phone, "c"), entry(phone, "c"))
	want := []uint64{first[1], first[0], again[2], again[2]}
	if diff := cmp.Diff(want, again); diff != "" {
		x.Fatalf("numbers of repeats (-want +got):\n%s", diff)
	}
	x.want(phone, first[0], first[1], again[2])
	if err := x.Ack(x.Context(), phone, again[2]); err != nil {
		x.Fatal(err)
	}
	if late := x.put(entry(phone, "a")); late[0] != first[0] {
		x.Errorf("a repeat after the ack got %d, want %d", late[0], first[0])
	}
	x.want(phone)
}

func full(x *contract) {
	seqs := x.fill(phone, x.c.Items)
	got, err := x.Put(x.Context(), entry(laptop, "x"), entry(phone, "one too many"), entry(friend, "x"))
	x.wantErr(err, mailbox.ErrFull)
	var which *mailbox.EntryError
	if !errors.As(err, &which) || which.Index != 1 {
		x.Fatalf("the error does not name entry 1: %v", err)
	}
	if got[1] != 0 {
		x.Errorf("the refused entry has the number %d", got[1])
	}
	x.want(laptop, got[0])
	x.want(friend, got[2])
	if again := x.put(entry(phone, "item 0")); again[0] != seqs[0] {
		x.Errorf("a repeat in a full box got %d, want %d", again[0], seqs[0])
	}
	if err := x.Ack(x.Context(), phone, seqs[0]); err != nil {
		x.Fatal(err)
	}
	last := x.put(entry(phone, "one too many"))
	x.want(phone, append(seqs[1:], last[0])...)
}

func tooLarge(x *contract) {
	e := entry(phone, "large")
	e.Data = make([]byte, x.c.ItemBytes)
	seqs := x.put(e)
	e.ID, e.Data = "larger", make([]byte, x.c.ItemBytes+1)
	_, err := x.Put(x.Context(), entry(phone, "good"), e)
	x.wantErr(err, mailbox.ErrTooLarge)
	x.want(phone, seqs...)
}

func invalid(x *contract) {
	long := strings.Repeat("a", 257)
	for name, e := range map[string]mailbox.Entry{
		"no account":    entry(mailbox.Box{Device: 1}, "a"),
		"long account":  entry(mailbox.Box{Account: long}, "a"),
		"wildcard":      entry(mailbox.Box{Account: ">"}, "a"),
		"dot":           entry(mailbox.Box{Account: "a.b"}, "a"),
		"no id":         entry(phone, ""),
		"long id":       entry(phone, long),
		"negative life": {Box: phone, ID: "a", TTL: -1},
	} {
		_, err := x.Put(x.Context(), entry(phone, "good"), e)
		if !errors.Is(err, mailbox.ErrInvalid) {
			x.Errorf("%s: got error %v", name, err)
		}
	}
	x.want(phone)
	_, _, err := x.Read(x.Context(), mailbox.Box{Account: "*"}, 0, 0)
	x.wantErr(err, mailbox.ErrInvalid)
	_, err = x.Tail(x.Context(), mailbox.Box{Account: "*"})
	x.wantErr(err, mailbox.ErrInvalid)
	_, err = x.Count(x.Context(), mailbox.Box{Account: "*"})
	x.wantErr(err, mailbox.ErrInvalid)
	x.wantErr(x.Ack(x.Context(), mailbox.Box{Account: "*"}, 1), mailbox.ErrInvalid)
	x.wantErr(x.Drop(x.Context(), mailbox.Box{Account: "*"}), mailbox.ErrInvalid)
}

func life(x *contract) {
	short := entry(phone, "short")
	short.TTL = time.Millisecond // a second, in whole seconds
	long := entry(phone, "long")
	long.TTL = 2 * x.c.Age
	seqs := x.put(entry(phone, "a"), short, entry(phone, "b"), long)
	x.want(phone, seqs...)
	x.eventually(func() bool {
		items, _, err := x.Read(x.Context(), phone, 0, 0)
		return err == nil && len(items) == 3
	})
	x.want(phone, seqs[0], seqs[2], seqs[3])
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

func ack(x *contract) {
	seqs := x.fill(phone, 10)
	for _, upto := range []uint64{0, seqs[0] - 1} {
		if err := x.Ack(x.Context(), phone, upto); err != nil {
			x.Fatal(err)
		}
		x.want(phone, seqs...)
	}
	for _, n := range []int{0, 4, 4, 2, 8} {
		if err := x.Ack(x.Context(), phone, seqs[n]); err != nil {
			x.Fatal(err)
		}
	}
	x.want(phone, seqs[9])
	last := x.put(entry(phone, "last"))
	x.want(phone, seqs[9], last[0])
}

func ackEverything(x *contract) {
	x.fill(phone, 3)
	if err := x.Ack(x.Context(), phone, math.MaxUint64); err != nil {
		x.Fatal(err)
	}
	x.want(phone)
	if items, more, err := x.Read(x.Context(), phone, math.MaxUint64, 1); len(items) > 0 || more || err != nil {
		x.Fatalf("after the last number: %d items, more %v, err %v", len(items), more, err)
	}
}

func drop(x *contract) {
	x.fill(phone, 3)
	other := x.fill(laptop, 3)
	for range 2 {
		if err := x.Drop(x.Context(), phone); err != nil {
			x.Fatal(err)
		}
		x.want(phone)
	}
	x.want(laptop, other...)
	x.want(phone)
	x.want(phone, x.put(entry(phone, "new"))...)
}

func empty(x *contract) {
	x.want(phone)
	if err := x.Ack(x.Context(), phone, 17); err != nil {
		x.Fatal(err)
	}
	seqs := x.put()
	if len(seqs) != 0 {
		x.Fatalf("nothing was put, with the numbers %v", seqs)
	}
	e := entry(phone, "nothing in it")
	e.Data = nil
	items := x.want(phone, x.put(e)...)
	if len(items[0].Data) != 0 {
		x.Errorf("an item without data has %q", items[0].Data)
	}
}

func copied(x *contract) {
	e := entry(phone, "a")
	want := bytes.Clone(e.Data)
	seqs := x.put(e)
	e.Data[0]++
	for range 2 {
		items := x.want(phone, seqs...)
		if !bytes.Equal(items[0].Data, want) {
			x.Fatalf("got %q, want %q", items[0].Data, want)
		}
		items[0].Data[0]++
	}
}

func ended(x *contract) {
	cancelled, cancel := context.WithCancel(x.Context())
	cancel()
	late, cancel := context.WithDeadline(x.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: cancelled, mailbox.ErrUnavailable: late} {
		_, err := x.Put(ctx, entry(phone, "a"))
		x.wantErr(err, want)
		_, _, err = x.Read(ctx, phone, 0, 1)
		x.wantErr(err, want)
		_, err = x.Tail(ctx, phone)
		x.wantErr(err, want)
		_, err = x.Count(ctx, phone)
		x.wantErr(err, want)
		x.wantErr(x.Ack(ctx, phone, 1), want)
		x.wantErr(x.Drop(ctx, phone), want)
	}
}

// atOnce has writers, and a reader that acknowledges as it goes, on each of
// three boxes. Every item must arrive once, each writer's in order.
func atOnce(x *contract) {
	const writers, each = 4, 30
	var all sync.WaitGroup
	for _, b := range []mailbox.Box{phone, laptop, friend} {
		for w := range writers {
			all.Go(func() { x.write(b, w, each) })
		}
		all.Go(func() { x.drain(b, writers, each) })
	}
	all.Wait()
}

func (x *contract) write(b mailbox.Box, writer, n int) {
	for i := 0; i < n; {
		e := entry(b, fmt.Sprint(writer, "/", i))
		e.Data = []byte{byte(writer), byte(i)}
		_, err := x.Put(x.Context(), e)
		switch {
		case err == nil:
			i++
		case !errors.Is(err, mailbox.ErrFull):
			x.Errorf("writer %d, item %d: %v", writer, i, err)
			return
		}
	}
}

func (x *contract) drain(b mailbox.Box, writers, each int) {
	next := make([]byte, writers)
	var after uint64
	for got := 0; got < writers*each; {
		items, _, err := x.Read(x.Context(), b, after, 16)
		if err != nil {
			x.Errorf("read: %v", err)
			return
		}
		for _, it := range items {
			w, i := it.Data[0], it.Data[1]
			if it.Seq <= after || i != next[w] {
				x.Errorf("item %d of writer %d, number %d, comes after item %d, number %d", i, w, it.Seq, next[w], after)
				return
			}
			after, next[w] = it.Seq, i+1
		}
		got += len(items)
		if err := x.Ack(x.Context(), b, after); err != nil {
			x.Errorf("ack: %v", err)
			return
		}
	}
}
