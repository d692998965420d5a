// Package tokens has the rule of the relay's token buckets, which its program in the kernel
// keeps as well (relay/internal/offload).
package tokens

import "sync/atomic"

// Pay takes as much as flows in in a time from a bucket that will be full at a moment, and
// reports whether the bucket, which holds as much as flows in in the time of a burst, had
// it. All are in ns. It may be called from any goroutine.
func Pay(bucket *atomic.Int64, cost, burst, now int64) bool {
	for {
		full := bucket.Load()
		next := max(full, now) + cost
		if next-now > burst {
			return false
		}
		if bucket.CompareAndSwap(full, next) {
			return true
		}
	}
}
