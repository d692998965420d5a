package powerdisk

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Disk holds files in memory. Its methods must not be called concurrently.
type Disk struct {
	// Guarded by mu.
	mu    sync.Mutex
	off   bool             // the power is cut: nothing is kept any more
	names map[string]*file // that are there, by path; a nil file is a directory
	fresh bool             // names have changed since kept was made
	kept  map[string]*file // what would be there after a cut
	syncs int

	server *fuse.Server
	dir    string
}

// file is the content of one.
type file struct {
	data []byte // as it is read
	kept []byte // as it would be after a cut
	// dirty are the parts of data that differ from kept.
	dirty []span
}

type span struct{ from, to int }

// New returns an empty disk.
func New() *Disk { return &Disk{names: map[string]*file{}, kept: map[string]*file{}} }

// Mount shows the disk at a directory, which must be there. It takes root, and
// /dev/fuse.
func (d *Disk) Mount(dir string) error {
	d.mu.Lock()
	d.off, d.dir = false, dir
	d.mu.Unlock()
	forever := 24 * time.Hour
	s, err := fs.Mount(dir, &node{disk: d}, &fs.Options{
		EntryTimeout: &forever, AttrTimeout: &forever,
		MountOptions: fuse.MountOptions{FsName: "powerdisk", Name: "powerdisk", DirectMountStrict: true, MaxWrite: 1 << 20},
	})
	if err != nil {
		return fmt.Errorf("powerdisk: %w", err)
	}
	d.server = s
	return nil
}

// Show is [Disk.Mount] until a test ends. It skips the test where that is not
// permitted.
func (d *Disk) Show(t testing.TB, dir string) {
	t.Helper()
	if err := d.Mount(dir); errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
		t.Skipf("not tested here: a FUSE file system cannot be mounted, which takes root and /dev/fuse: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Unmount(); err != nil {
			t.Error(err)
		}
	})
}

// Cut cuts the power: from now on nothing is kept. What uses the disk must be
// killed, and the disk be unmounted then.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

// Unmount takes the disk away, and with it what was cut off.
func (d *Disk) Unmount() error {
	if d.server == nil {
		return nil
	}
	var err error
	for range 100 { // until the kernel has let go of the files of who was killed
		if err = d.server.Unmount(); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("powerdisk: %w", err)
	}
	d.server.Wait()
	d.server = nil
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		d.forget()
	}
	return nil
}

// Syncs is how often something was synced.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// forget puts everything back to what was kept. It must hold mu.
func (d *Disk) forget() {
	d.names = map[string]*file{}
	for name, f := range d.kept {
		if f != nil {
			f.data, f.dirty = append([]byte(nil), f.kept...), nil
		}
		d.names[name] = f
	}
	d.fresh = false
}

// sync keeps a file, nil for none, and all names. It must hold mu.
func (d *Disk) sync(f *file) {
	if d.off {
		return
	}
	d.syncs++
	if f != nil {
		f.keep()
	}
	if d.fresh {
		d.kept = map[string]*file{}
		for name, f := range d.names {
			d.kept[name] = f
		}
		d.fresh = false
	}
}

func (f *file) keep() {
	if len(f.kept) > len(f.data) {
		f.kept = f.kept[:len(f.data)]
	}
	if n := len(f.data) - len(f.kept); n > 0 {
		f.kept = append(f.kept, make([]byte, n)...)
	}
	for _, s := range f.dirty {
		if to := min(s.to, len(f.data)); s.from < to {
			copy(f.kept[s.from:to], f.data[s.from:to])
		}
	}
	f.dirty = nil
}

func (f *file) write(b []byte, at int) {
	end := at + len(b)
	if at > len(f.data) { // a hole
		f.dirty = append(f.dirty, span{len(f.data), at})
	}
	if end > len(f.data) {
		f.data = append(f.data, make([]byte, end-len(f.data))...)
	}
	copy(f.data[at:], b)
	f.dirty = append(f.dirty, span{at, end})
}

func (f *file) truncate(n int) {
	if n <= len(f.data) {
		f.data = f.data[:n:n]
		return
	}
	f.dirty = append(f.dirty, span{len(f.data), n})
	f.data = append(f.data, make([]byte, n-len(f.data))...)
}
