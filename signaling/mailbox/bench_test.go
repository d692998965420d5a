package mailbox_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"switchboard/signaling/mailbox"
)

// All benchmarks run on an embedded server in this process that syncs every
// write, with items of 400 bytes.

func item(b mailbox.Box, id int) mailbox.Entry {
	return mailbox.Entry{Box: b, ID: strconv.Itoa(id), Data: make([]byte, 400)}
}

func box(n int) mailbox.Box {
	return mailbox.Box{Account: fmt.Sprintf("%013x", n), Device: 1}
}

// BenchmarkPut stores one item after the other.
func BenchmarkPut(b *testing.B) {
	s := start(b, mailbox.Default())
	for n := 0; b.Loop(); n++ {
		put(b, s, item(box(n%1000), n))
	}
}

// BenchmarkPutParallel is 128 senders; an operation is one item for each of two
// devices.
func BenchmarkPutParallel(b *testing.B) {
	for _, streams := range []int{1, 4, 16} {
		b.Run(fmt.Sprint("streams=", streams), func(b *testing.B) {
			c := mailbox.Default()
			c.Streams = streams
			s := start(b, c)
			var last atomic.Int64
			b.SetParallelism(64)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					n := int(last.Add(1))
					if _, err := s.Put(b.Context(), item(box(n%1000), n), item(box(n%1000+1), n)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkRead20 reads a mailbox of 20 items that lie among those of others.
func BenchmarkRead20(b *testing.B) {
	s := start(b, mailbox.Default())
	const boxes = 100
	for n := range 20 * boxes {
		put(b, s, item(box(n%boxes), n))
	}
	for n := 0; b.Loop(); n++ {
		items, _, err := s.Read(b.Context(), box(n%boxes), 0, 0)
		if err != nil || len(items) != 20 {
			b.Fatalf("%d items, err %v", len(items), err)
		}
	}
}

// BenchmarkReadEmpty reads a mailbox that has nothing: a reconnect, mostly.
func BenchmarkReadEmpty(b *testing.B) {
	s := start(b, mailbox.Default())
	for n := 0; b.Loop(); n++ {
		if _, _, err := s.Read(b.Context(), box(n), 0, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTail asks for the newest number of a mailbox of one item.
func BenchmarkTail(b *testing.B) {
	s := start(b, mailbox.Default())
	put(b, s, item(box(1), 1))
	for b.Loop() {
		if _, err := s.Tail(b.Context(), box(1)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAck acknowledges the oldest five of ten items, whose storing is not
// counted.
func BenchmarkAck(b *testing.B) {
	s := start(b, mailbox.Default())
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		bx := box(n)
		seqs := put(b, s, entries(bx, 10)...)
		b.StartTimer()
		if err := s.Ack(b.Context(), bx, seqs[4]); err != nil {
			b.Fatal(err)
		}
	}
}
