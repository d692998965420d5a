package powerdisk

import (
	"context"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or, without a file, a directory.
type node struct {
	fs.Inode
	disk *Disk
	file *file
}

// handle is an open file.
type handle struct{ synced bool } // what is written is kept at once

var _ interface {
	fs.NodeOnAdder
	fs.NodeStatfser
	fs.NodeGetattrer
	fs.NodeSetattrer
	fs.NodeCreater
	fs.NodeMkdirer
	fs.NodeLinker
	fs.NodeUnlinker
	fs.NodeRmdirer
	fs.NodeRenamer
	fs.NodeOpener
	fs.NodeReader
	fs.NodeWriter
	fs.NodeFsyncer
} = (*node)(nil)

func (n *node) at() string { return "/" + n.Path(nil) }

// OnAdd builds the tree of a disk that is mounted, at its root.
func (n *node) OnAdd(ctx context.Context) {
	if n.file != nil || !n.IsRoot() {
		return
	}
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	var names []string
	for name := range n.disk.names {
		names = append(names, name)
	}
	slices.Sort(names) // directories before what is in them
	for _, name := range names {
		dir := n.EmbeddedInode()
		parts := strings.Split(strings.Trim(path.Dir(name), "/"), "/")
		for _, p := range parts {
			if p != "" && dir != nil {
				dir = dir.GetChild(p)
			}
		}
		if dir == nil {
			continue // the directory was not kept, and so the file is gone
		}
		f := n.disk.names[name]
		dir.AddChild(path.Base(name), n.NewPersistentInode(ctx, &node{disk: n.disk, file: f}, fs.StableAttr{Mode: modeOf(f)}), true)
	}
}

func modeOf(f *file) uint32 {
	if f == nil {
		return syscall.S_IFDIR
	}
	return syscall.S_IFREG
}

func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	*out = fuse.StatfsOut{Blocks: 1 << 24, Bfree: 1 << 24, Bavail: 1 << 24, Files: 1 << 20, Ffree: 1 << 20, Bsize: 4096, Frsize: 4096, NameLen: 255}
	return 0
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.attr(&out.Attr)
	return 0
}

func (n *node) attr(a *fuse.Attr) {
	a.Mode, a.Nlink = modeOf(n.file)|0o700, 1
	if n.file != nil {
		a.Size = uint64(len(n.file.data))
		a.Blocks = (a.Size + 511) / 512
	}
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if size, ok := in.GetSize(); ok && n.file != nil {
		n.file.truncate(int(size))
	}
	n.attr(&out.Attr)
	return 0
}

// add makes a file or a directory.
func (n *node) add(ctx context.Context, name string, f *file, out *fuse.EntryOut) *fs.Inode {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	child := &node{disk: n.disk, file: f}
	n.disk.names[path.Join(n.at(), name)], n.disk.fresh = f, true
	child.attr(&out.Attr)
	return n.NewPersistentInode(ctx, child, fs.StableAttr{Mode: modeOf(f)})
}

func (n *node) Create(ctx context.Context, name string, flags, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return n.add(ctx, name, &file{}, out), opened(flags), 0, 0
}

func (n *node) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.add(ctx, name, nil, out), 0
}

func (n *node) Link(_ context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	of := target.(*node)
	n.disk.names[path.Join(n.at(), name)], n.disk.fresh = of.file, true
	of.attr(&out.Attr)
	return of.EmbeddedInode(), 0
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	delete(n.disk.names, path.Join(n.at(), name))
	n.disk.fresh = true
	return 0
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if c := n.GetChild(name); c != nil && len(c.Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	return n.Unlink(ctx, name)
}

func (n *node) Rename(_ context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags != 0 {
		return syscall.EINVAL
	}
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	from, dest := path.Join(n.at(), name), path.Join(to.(*node).at(), newName)
	if there, ok := n.disk.names[dest]; ok && there == nil {
		for other := range n.disk.names {
			if strings.HasPrefix(other, dest+"/") {
				return syscall.ENOTEMPTY
			}
		}
	}
	moved := map[string]*file{dest: n.disk.names[from]}
	for other, f := range n.disk.names {
		if rest, ok := strings.CutPrefix(other, from+"/"); ok {
			moved[dest+"/"+rest] = f
			delete(n.disk.names, other)
		}
	}
	delete(n.disk.names, from)
	for name, f := range moved {
		n.disk.names[name] = f
	}
	n.disk.fresh = true
	return 0
}

func opened(flags uint32) *handle {
	return &handle{synced: flags&(syscall.O_SYNC|syscall.O_DSYNC) != 0}
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if n.file == nil {
		return nil, 0, syscall.EISDIR
	}
	if flags&syscall.O_TRUNC != 0 {
		n.disk.mu.Lock()
		defer n.disk.mu.Unlock()
		n.file.truncate(0)
	}
	return opened(flags), 0, 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if off >= int64(len(n.file.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, n.file.data[off:])]), 0
}

func (n *node) Write(_ context.Context, h fs.FileHandle, b []byte, off int64) (uint32, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.file.write(b, int(off))
	if h, ok := h.(*handle); ok && h.synced {
		n.disk.sync(n.file)
	}
	return uint32(len(b)), 0
}

func (n *node) Fsync(_ context.Context, _ fs.FileHandle, _ uint32) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.disk.sync(n.file)
	return 0
}
