package mailbox

import (
	"fmt"
	"testing"
)

// TestShardsAreFixed has accounts whose shard must never change: their items
// would not be found any more.
func TestShardsAreFixed(t *testing.T) {
	for account, want := range map[string]string{
		"0a1b2c3d4e5f6": "inbox.39.0a1b2c3d4e5f6.7",
		"v9u8t7s6r5q4p": "inbox.03.v9u8t7s6r5q4p.7",
		"a":             "inbox.2c.a.7",
	} {
		if got := (Box{Account: account, Device: 7}).subject(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestShardsSpread(t *testing.T) {
	var count [Shards]int
	for i := range 64_000 {
		count[shardOf(fmt.Sprintf("%013x", i*7919))]++
	}
	for shard, n := range count {
		if n < 800 || n > 1200 {
			t.Errorf("shard %d has %d of 64000 accounts", shard, n)
		}
	}
}

func TestStreamsShareAllShards(t *testing.T) {
	for n := 1; n <= Shards; n++ {
		want := 0
		for k := range n {
			first, end := shardsOf(k, n)
			if first != want || end <= first {
				t.Fatalf("stream %d of %d has the shards %d to %d, want them to start at %d", k, n, first, end, want)
			}
			for shard := first; shard < end; shard++ {
				if got := streamOf(shard, n); got != k {
					t.Fatalf("shard %d is in stream %d of %d, want %d", shard, got, n, k)
				}
			}
			want = end
		}
		if want != Shards {
			t.Fatalf("%d streams have %d shards", n, want)
		}
	}
}
