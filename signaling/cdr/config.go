package cdr

import (
	"errors"
	"fmt"
	"time"
)

// Config is how records are kept.
type Config struct {
	// Age is how long a record is kept; 0 writes none.
	Age time.Duration `yaml:"age"`
	// Records is how many are kept at most; then the oldest go.
	Records int `yaml:"records"`
	// Timeout bounds one operation.
	Timeout time.Duration `yaml:"timeout"`

	// Replicas is how many servers keep the records.
	Replicas int `yaml:"-"`
}

// Default keeps records for 90 days, at most half a million.
func Default() Config {
	return Config{Age: 90 * 24 * time.Hour, Records: 500_000, Timeout: 5 * time.Second}
}

// On reports whether calls are written down.
func (c Config) On() bool { return c.Age > 0 }

// Validate reports every key that has a value which cannot be.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, key, problem string) {
		if !ok {
			errs = append(errs, fmt.Errorf("cdr.%s: %s", key, problem))
		}
	}
	need(c.Age == 0 || c.Age >= time.Hour && c.Age <= maxAge, "age", "must be between 1h and 87600h, or 0s")
	need(c.Records >= 1000 && c.Records <= 100_000_000, "records", "must be between 1000 and 100000000")
	need(c.Timeout > 0 && c.Timeout <= time.Minute, "timeout", "must be between 0s and 1m")
	return errors.Join(errs...)
}

// maxAge is ten years: whoever wants more wants an archive.
const maxAge = 87_600 * time.Hour
