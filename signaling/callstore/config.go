package callstore

import (
	"errors"
	"fmt"
	"time"
)

// Config is how the records are kept.
type Config struct {
	// Bucket is the name of the bucket: 1 to 64 of a-z A-Z 0-9 - and _.
	Bucket string `yaml:"-"`
	// Replicas is the number of servers that keep the bucket: 1, 3 or 5. A
	// bucket that has more keeps them. The program sets it from what NATS is.
	Replicas int `yaml:"-"`
	// RecordBytes is the largest record, in bytes.
	RecordBytes int `yaml:"record_bytes"`
	// Timeout bounds every operation whose context ends later, or never.
	Timeout time.Duration `yaml:"timeout"`
}

// Default is the configuration for the embedded server.
func Default() Config {
	return Config{Bucket: "CALLS", Replicas: 1, RecordBytes: 256 << 10, Timeout: 5 * time.Second}
}

// Validate names every key that is wrong.
func (c Config) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(!nameOK(c.Bucket, 64), "bucket: it has not 1 to 64 of a-z A-Z 0-9 - _")
	bad(c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5, "replicas: %d is none of 1, 3, 5", c.Replicas)
	bad(c.RecordBytes < 1 || c.RecordBytes > 768<<10, "record_bytes: %d is not within 1 to %d", c.RecordBytes, 768<<10)
	bad(c.Timeout <= 0, "timeout: %v is not positive", c.Timeout)
	return errors.Join(errs...)
}
