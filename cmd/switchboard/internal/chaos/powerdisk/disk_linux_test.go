package powerdisk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"switchboard/cmd/switchboard/internal/chaos/powerdisk"
)

// mount shows a disk.
func mount(t *testing.T, d *powerdisk.Disk) (dir string) {
	t.Helper()
	dir = t.TempDir()
	d.Show(t, dir)
	return dir
}

// power cuts it, and shows what is left.
func power(t *testing.T, d *powerdisk.Disk) (dir string) {
	t.Helper()
	d.Cut()
	if err := d.Unmount(); err != nil {
		t.Fatal(err)
	}
	return mount(t, d)
}

func TestPower(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	disk := powerdisk.New()
	dir := mount(t, disk)
	at := func(name string) string { return filepath.Join(dir, name) }
	open := func(name string, flags int) *os.File {
		t.Helper()
		f, err := os.OpenFile(at(name), os.O_RDWR|flags, 0o600)
		must(err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	write := func(f *os.File, text string, off int64) {
		t.Helper()
		_, err := f.WriteAt([]byte(text), off)
		must(err)
	}
	want := func(name, text string) {
		t.Helper()
		if got, err := os.ReadFile(at(name)); err != nil || string(got) != text {
			t.Errorf("%s is %q, %v; want %q", name, got, err, text)
		}
	}
	gone := func(name string) {
		t.Helper()
		if _, err := os.Stat(at(name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}

	must(os.MkdirAll(at("a/b"), 0o700))
	f := open("a/b/synced", os.O_CREATE)
	write(f, "0123456789", 0)
	must(f.Sync())
	write(f, "XX", 2) // not synced
	write(f, "more", 10)
	o := open("a/osync", os.O_CREATE|os.O_SYNC)
	write(o, "at once", 0)
	never := open("a/never", os.O_CREATE)
	write(never, "unsynced", 0)
	want("a/never", "unsynced")
	must(os.WriteFile(at("tmp"), []byte("new"), 0o600))
	must(os.Rename(at("tmp"), at("a/renamed")))
	must(o.Sync()) // the names, too
	late := open("late", os.O_CREATE)
	write(late, "late", 0)
	must(os.Remove(at("a/osync")))
	gone("a/osync")
	for _, f := range []*os.File{f, o, never, late} {
		f.Close()
	}

	dir = power(t, disk)
	want("a/b/synced", "0123456789")
	want("a/osync", "at once")
	want("a/never", "")
	want("a/renamed", "")
	gone("late")
	gone("tmp")

	// What is kept is the beginning of what comes.
	f = open("a/b/synced", 0)
	must(f.Truncate(4))
	must(f.Sync())
	must(f.Truncate(8))
	write(f, "ab", 6)
	must(f.Sync())
	must(os.Rename(at("a/b"), at("c")))
	must(os.Mkdir(at("d"), 0o700))
	must(os.Remove(at("d")))
	want("c/synced", "0123\x00\x00ab")
	must(f.Sync())
	f.Close()
	dir = power(t, disk)
	want("c/synced", "0123\x00\x00ab")
	gone("a/b")
	if disk.Syncs() < 5 {
		t.Errorf("%d syncs", disk.Syncs())
	}
}
