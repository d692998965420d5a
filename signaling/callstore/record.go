package callstore

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrExists tells that a record with this key is there already.
	ErrExists = errors.New("record exists")
	// ErrNotFound tells that there is no such record, or that its life is over.
	ErrNotFound = errors.New("no such record")
	// ErrConflict tells that the record has another revision, or is gone.
	ErrConflict = errors.New("record has changed")
	// ErrTooLarge tells that the data is larger than [Config.RecordBytes].
	ErrTooLarge = errors.New("record is too large")
	// ErrTooMany tells that there are more keys than [MaxKeys].
	ErrTooMany = errors.New("too many records")
	// ErrUnavailable tells that NATS is away, or did not answer in time. A
	// change may have happened.
	ErrUnavailable = errors.New("call records are unavailable")
	// ErrInvalid tells that the caller gave a key or a life that cannot be.
	ErrInvalid = errors.New("invalid record")
)

// maxKey bounds a key, in bytes: it stands in a subject.
const maxKey = 256

// CheckKey tells what is wrong with a key, as [ErrInvalid], or nil. A key is 1
// to 256 of a-z A-Z 0-9 - and _, and may have dots between.
func CheckKey(key string) error {
	for part := range strings.SplitSeq(key, ".") {
		if len(key) > maxKey || !nameOK(part, maxKey) {
			return fmt.Errorf("%w: the key is empty, too long, or not of a-z A-Z 0-9 - _ with dots between", ErrInvalid)
		}
	}
	return nil
}

// CheckPrefix tells what is wrong with a prefix of keys, as [ErrInvalid], or nil.
// It is a key with a dot behind.
func CheckPrefix(prefix string) error {
	key, dot := strings.CutSuffix(prefix, ".")
	if !dot {
		return fmt.Errorf("%w: the prefix does not end with a dot", ErrInvalid)
	}
	return CheckKey(key)
}

// CheckRecord tells what is wrong with a record under c, as [ErrInvalid] or
// [ErrTooLarge], or nil.
func CheckRecord(c Config, key string, data []byte, ttl time.Duration) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if ttl <= 0 {
		return fmt.Errorf("%w: its life is not positive", ErrInvalid)
	}
	if len(data) == 0 {
		return fmt.Errorf("%w: it is empty", ErrInvalid)
	}
	if len(data) > c.RecordBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(data), c.RecordBytes)
	}
	return nil
}

// Life is how long a record really lives: ttl in whole seconds, rounded up.
func Life(ttl time.Duration) time.Duration {
	return (ttl + time.Second - 1).Truncate(time.Second)
}

func nameOK(s string, most int) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= most
}
