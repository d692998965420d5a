package chaos

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"switchboard/cmd/switchboard/internal/fleet"
)

// small puts a file system of a few megabytes at a directory.
func small(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("switchboard-test", dir, "tmpfs", 0, "size=32m,mode=0700"); errors.Is(err, os.ErrPermission) {
		t.Skipf("not tested here: a tmpfs cannot be mounted, which takes root: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fillUp leaves no byte free, and returns what frees them again.
func fillUp(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// TestFullDisk fills the disk of a node, with all inside, while texts are sent.
// None is acknowledged that is not stored; the node lives, and tells its operator;
// once there is room it goes on by itself, with all that was acknowledged, and does
// so again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "node1", "data")
	small(t, data)
	h := startHouse(t, fleet.Config{Dir: dir})
	node := h.fleet.Nodes[0]
	read := h.quiet.hold()
	taken, stop := h.text()
	pid := node.PID()
	ready := func(want bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); node.Ready() != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the node says that it is ready: %v", !want)
			}
		}
	}
	for range 2 {
		h.await(taken, 100)
		free := fillUp(t, data)
		ready(false)
		before := taken.Load()
		time.Sleep(time.Second)
		if n := taken.Load() - before; n > 0 || node.PID() != pid {
			t.Errorf("%d texts were taken that cannot be stored; process %d became %d", n, pid, node.PID())
		}
		free()
		ready(true)
	}
	h.await(taken, 100)
	stop()
	read()
	h.sound()
}
