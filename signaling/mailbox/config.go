package mailbox

import (
	"errors"
	"fmt"
	"time"
)

// Window is how long a repeat of an item is known to be one.
const Window = 2 * time.Minute

// MaxBatch is the most items that one [Store.Read] returns.
const MaxBatch = 256

// Config is how mailboxes are kept.
type Config struct {
	// Streams is the number of physical streams that share the 64 shards, 1 to
	// 64. It can not be changed once there is data. An embedded server syncs
	// each stream on its own, so more streams store more items a second; a
	// cluster is best with 3 to 6.
	Streams int `yaml:"streams"`
	// Items is how many items one mailbox holds; further ones are refused.
	Items int `yaml:"items"`
	// Age is how long an item is kept that nobody fetches.
	Age time.Duration `yaml:"age"`
	// ItemBytes is the largest item, in bytes.
	ItemBytes int `yaml:"item_bytes"`
	// Replicas is the number of servers that keep each stream: 1, 3 or 5. A
	// stream that has more keeps them. The program sets it from what NATS is.
	Replicas int `yaml:"-"`
	// Timeout bounds every operation whose context ends later, or never.
	Timeout time.Duration `yaml:"timeout"`
}

// Default is the configuration for the embedded server.
func Default() Config {
	return Config{
		Streams:   4,
		Items:     2000,
		Age:       30 * 24 * time.Hour,
		ItemBytes: 64 << 10,
		Replicas:  1,
		Timeout:   5 * time.Second,
	}
}

// Validate names every key that is wrong.
func (c Config) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.Streams < 1 || c.Streams > Shards, "streams: %d is not within 1 to %d", c.Streams, Shards)
	bad(c.Items < 1 || c.Items > 1_000_000, "items: %d is not within 1 to 1000000", c.Items)
	bad(c.Age < Window, "age: %v is less than the %v in which repeats are known", c.Age, Window)
	bad(c.ItemBytes < 1 || c.ItemBytes > 512<<10, "item_bytes: %d is not within 1 to %d", c.ItemBytes, 512<<10)
	bad(c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5, "replicas: %d is none of 1, 3, 5", c.Replicas)
	bad(c.Timeout <= 0, "timeout: %v is not positive", c.Timeout)
	return errors.Join(errs...)
}
