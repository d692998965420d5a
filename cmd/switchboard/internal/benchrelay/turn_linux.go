package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// turn is what runs of this program on one machine pass on to each other, since two that
// measured at the same time would measure each other.
type turn struct{ file *os.File }

func newTurn() (turn, error) {
	file, err := os.OpenFile(filepath.Join(os.TempDir(), "bench-relay.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	return turn{file}, err
}

// take waits until no other run measures. The kernel gives the turn back for who dies.
func (t turn) take(ctx context.Context) error {
	for {
		err := unix.Flock(int(t.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err != unix.EWOULDBLOCK && err != unix.EINTR:
			return fmt.Errorf("wait for other runs: %w", err)
		}
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// give lets others measure, for long enough that they notice.
func (t turn) give() {
	unix.Flock(int(t.file.Fd()), unix.LOCK_UN)
	time.Sleep(100 * time.Millisecond)
}
