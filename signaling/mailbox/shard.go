package mailbox

import (
	"fmt"
	"hash/fnv"
	"strconv"
)

// Shards is the number of logical shards. It stands in every subject and is
// fixed for ever; what may change, by migration, is the streams they lie in.
const Shards = 64

// shardOf is the shard of an account: the low six bits of its FNV-1a hash. All
// devices of an account share it.
func shardOf(account string) int {
	h := fnv.New32a()
	h.Write([]byte(account))
	return int(h.Sum32() % Shards)
}

// streamOf is the stream of a shard, when there are n streams.
func streamOf(shard, n int) int { return shard * n / Shards }

// shardsOf are the shards from first up to, without, end that stream k of n has.
func shardsOf(k, n int) (first, end int) {
	return (k*Shards + n - 1) / n, ((k+1)*Shards + n - 1) / n
}

func streamName(k int) string { return "INBOX_" + strconv.Itoa(k) }

// subject is where the items of b lie.
func (b Box) subject() string {
	return fmt.Sprintf("inbox.%02x.%s.%d", shardOf(b.Account), b.Account, b.Device)
}

// allSubjects are those of all boxes of b's account.
func (b Box) allSubjects() string {
	return fmt.Sprintf("inbox.%02x.%s.*", shardOf(b.Account), b.Account)
}
