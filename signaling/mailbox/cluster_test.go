package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/signaling/callstore"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/mailbox"
)

// TestClusterOfThree starts three servers once and tries on them what differs
// from one: reads that lag, several nodes, and the loss of a leader. The
// records of calls are tried here, too, because electing takes seconds.
func TestClusterOfThree(t *testing.T) {
	if testing.Short() {
		t.Skip("electing takes seconds")
	}
	c := mailbox.StartCluster(t)
	t.Run("calls", func(t *testing.T) { clusterCalls(t, c) })
	conf := mailbox.Default()
	conf.Streams, conf.Replicas = 2, 3
	var nodes []*mailbox.Store
	for _, js := range c.JS {
		nodes = append(nodes, open(t, js, conf))
	}
	t.Run("mailboxes", func(t *testing.T) { clusterMailboxes(t, nodes) })
	t.Run("loss of a leader", func(t *testing.T) { clusterLoss(t, c, nodes) })
}

// clusterCalls runs the contract with every operation on another node than the
// one before.
func clusterCalls(t *testing.T, c *mailbox.Cluster) {
	buckets := 0
	callstoretest.Run(t, func(tb testing.TB, conf callstore.Config) callstoretest.Calls {
		buckets++
		conf.Bucket, conf.Replicas = fmt.Sprint("CALLS", buckets), 3
		r := &roundRobin{}
		for _, js := range c.JS {
			s, err := callstore.Open(tb.Context(), js, conf)
			if err != nil {
				tb.Fatal(err)
			}
			r.nodes = append(r.nodes, s)
		}
		return r
	})
}

// roundRobin is nodes that share one bucket.
type roundRobin struct {
	nodes []callstoretest.Calls
	turn  atomic.Uint32
}

func (r *roundRobin) node() callstoretest.Calls {
	return r.nodes[int(r.turn.Add(1))%len(r.nodes)]
}

func (r *roundRobin) Create(ctx context.Context, key string, data []byte, ttl time.Duration) (uint64, error) {
	return r.node().Create(ctx, key, data, ttl)
}

func (r *roundRobin) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	return r.node().Load(ctx, key)
}

func (r *roundRobin) Save(ctx context.Context, key string, data []byte, rev uint64, ttl time.Duration) (uint64, error) {
	return r.node().Save(ctx, key, data, rev, ttl)
}

func (r *roundRobin) Delete(ctx context.Context, key string, rev uint64) error {
	return r.node().Delete(ctx, key, rev)
}

func (r *roundRobin) Keys(ctx context.Context, prefix string) ([]string, error) {
	return r.node().Keys(ctx, prefix)
}

// clusterMailboxes wants every node to know the tail at once, and to read up to
// it soon.
func clusterMailboxes(t *testing.T, nodes []*mailbox.Store) {
	var seqs []uint64
	for i, e := range entries(phone, 100) {
		seqs = append(seqs, put(t, nodes[i%3], e)...)
		tail, err := nodes[(i+1)%3].Tail(t.Context(), phone)
		if err != nil || tail != seqs[i] {
			t.Fatalf("item %d has the number %d, another node says %d, err %v", i, seqs[i], tail, err)
		}
	}
	for _, s := range nodes {
		drain(t, s, phone, seqs)
	}
	if err := nodes[0].Ack(t.Context(), phone, seqs[89]); err != nil {
		t.Fatal(err)
	}
	mailbox.Eventually(t, func() error {
		items, _, err := nodes[1].Read(t.Context(), phone, 0, 0)
		if len(items) != 10 {
			return fmt.Errorf("%d items after the ack, err %w", len(items), err)
		}
		return nil
	})
}

// drain reads until it has every number in seqs, in order and no other.
func drain(t *testing.T, s *mailbox.Store, b mailbox.Box, seqs []uint64) {
	t.Helper()
	got, after := 0, uint64(0)
	mailbox.Eventually(t, func() error {
		items, _, err := s.Read(t.Context(), b, after, 7)
		if err != nil {
			return err
		}
		for _, it := range items {
			if got == len(seqs) || it.Seq != seqs[got] {
				t.Fatalf("item %d has the number %d", got, it.Seq)
			}
			after, got = it.Seq, got+1
		}
		if got < len(seqs) {
			return fmt.Errorf("%d of %d items so far", got, len(seqs))
		}
		return nil
	})
}

// clusterLoss ends the server that leads a stream while nodes on the others
// store items. They repeat with the same IDs what fails.
func clusterLoss(t *testing.T, c *mailbox.Cluster, nodes []*mailbox.Store) {
	b := mailbox.Box{Account: "v9u8t7s6r5q4p", Device: 3}
	lead := c.Leader(t, mailbox.StreamOf(b, 2))
	const writers, each = 2, 200
	stored := make([][]uint64, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			s := nodes[(lead+1+w)%3]
			for i := range each {
				if i == each/4 && w == 0 {
					c.Stop(lead)
				}
				stored[w] = append(stored[w], insist(t, s, mailbox.Entry{Box: b, ID: fmt.Sprint(w, "/", i), Data: []byte{byte(w), byte(i)}}))
			}
		})
	}
	all.Wait()
	for w := range writers {
		s := nodes[(lead+1+w)%3]
		got, after := 0, uint64(0)
		next := make([]byte, writers)
		mailbox.Eventually(t, func() error {
			items, _, err := s.Read(t.Context(), b, after, 0)
			if err != nil {
				return err
			}
			for _, it := range items {
				writer, i := it.Data[0], it.Data[1]
				if i != next[writer] || it.Seq != stored[writer][i] {
					t.Fatalf("item %d of writer %d: number %d, want item %d, number %d", i, writer, it.Seq, next[writer], stored[writer][i])
				}
				next[writer], after, got = i+1, it.Seq, got+1
			}
			if got < writers*each {
				return fmt.Errorf("%d of %d items so far", got, writers*each)
			}
			return nil
		})
	}
}

func insist(t *testing.T, s *mailbox.Store, e mailbox.Entry) uint64 {
	for range 20 {
		seqs, err := s.Put(t.Context(), e)
		if err == nil {
			return seqs[0]
		}
		if !errors.Is(err, mailbox.ErrUnavailable) {
			t.Errorf("put: %v", err)
			return 0
		}
	}
	t.Error("put failed too often")
	return 0
}
