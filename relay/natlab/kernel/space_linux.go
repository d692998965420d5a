package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	netnsDir = "/run/netns"  // where ip netns looks
	filesDir = "/etc/netns"  // what ip netns exec mounts over /etc
	hostname = "hosts"       // a file of filesDir/<namespace>
	resolver = "resolv.conf" // another: names that are not in hosts are refused at once
)

// space is a named network namespace. A thread of its own is in it, with files of its own
// over /etc, and starts the processes there: they get a signal when that thread ends.
type space struct {
	// Static after newSpace.
	name  string // of the namespace
	fd    *os.File
	id    nsid
	calls chan func()
	ended chan struct{}
}

// nsid tells namespaces apart.
type nsid struct{ dev, inode uint64 }

func idOf(path string) (nsid, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nsid{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return nsid{st.Dev, st.Ino}, nil
}

// shareNetns makes mounts under netnsDir appear in, and vanish from, all mount
// namespaces, as ip netns does; else a namespace would live for as long as one that was
// copied meanwhile.
func shareNetns() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	err := unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	if err := unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
}

// newSpace makes a namespace. After an error nothing is left of it.
func newSpace(name string) (*space, error) {
	s := &space{name: name, calls: make(chan func()), ended: make(chan struct{})}
	made := make(chan error)
	onThread(func() { // which is never unlocked: the thread ends with the goroutine
		defer close(s.ended)
		err := s.enter()
		made <- err
		if err != nil {
			return
		}
		for call := range s.calls {
			call()
		}
	})
	err := <-made
	if err == nil {
		err = s.appear()
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	return s, nil
}

// onThread has a goroutine that is locked to its thread call f. The thread is not the first of
// the process: that one never ends, and what it is in is what /proc says of the process.
func onThread(f func()) {
	locked := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onThread(f) // on another thread, as long as this one is taken
			runtime.UnlockOSThread()
			close(locked)
			return
		}
		close(locked)
		f()
	}()
	<-locked
}

// enter takes the calling thread into a new namespace, with a /sys and files that show it.
func (s *space) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	for _, file := range []string{hostname, resolver} {
		if err := unix.Mount(filepath.Join(filesDir, s.name, file), filepath.Join("/etc", file), "none", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("mount over /etc/%s: %w", file, err)
		}
	}
	var err error
	if s.fd, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	return quiet()
}

// quiet has addresses work at once, and nothing be sent that nobody asked for.
func quiet() error {
	for file, value := range map[string]string{
		"ipv6/conf/all/accept_dad":               "0",
		"ipv6/conf/default/accept_dad":           "0",
		"ipv6/conf/default/dad_transmits":        "0",
		"ipv6/conf/default/accept_ra":            "0",
		"ipv6/conf/default/autoconf":             "0",
		"ipv6/conf/default/router_solicitations": "0",
		"ipv4/neigh/default/retrans_time_ms":     "100",
		"ipv6/neigh/default/retrans_time_ms":     "100",
		// IPv4's are taken from the machine's own (net.core.devconf_inherit_init_net).
		"ipv4/ip_forward":                 "0",
		"ipv4/conf/all/rp_filter":         "0",
		"ipv4/conf/default/rp_filter":     "0",
		"ipv4/conf/all/accept_local":      "0",
		"ipv4/conf/default/accept_local":  "0",
		"bridge/bridge-nf-call-iptables":  "0",
		"bridge/bridge-nf-call-ip6tables": "0",
		"bridge/bridge-nf-call-arptables": "0",
	} {
		if err := sysctl(file, value); err != nil {
			return err
		}
	}
	return nil
}

// sysctl sets a value under net in the calling thread's namespace. One that this kernel
// does not have is passed over.
func sysctl(file, value string) error {
	err := os.WriteFile("/proc/sys/net/"+file, []byte(value), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// appear gives the namespace its name. The caller is outside of it.
func (s *space) appear() error {
	path := filepath.Join(netnsDir, s.name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	f.Close()
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", s.fd.Fd()), path, "none", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	s.id, err = idOf(path)
	return err
}

// vanish takes away a namespace's name. What is left in it keeps it alive.
func vanish(name string) error {
	path := filepath.Join(netnsDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "unmount", Path: path, Err: err}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.RemoveAll(filepath.Join(filesDir, name))
}

// do has the namespace's thread call f, and waits for it. f must not wait for anything
// but the kernel.
func (s *space) do(f func() error) error {
	done := make(chan error)
	s.calls <- func() { done <- f() }
	return <-done
}

// visit has a thread call f in the namespace, which may take as long as it likes. The thread
// comes back after it: were it to end, a process that somebody had started on it before would
// take that for the end of its parent (PR_SET_PDEATHSIG).
func (s *space) visit(f func() error) error {
	done := make(chan error)
	onThread(func() { done <- s.enterAndLeave(f) })
	return <-done
}

// enterAndLeave unlocks the thread, unless that could not leave.
func (s *space) enterAndLeave(f func() error) error {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(s.fd.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter %s: %w", s.name, err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave %s: %w", s.name, back)) // and the thread ends
	}
	runtime.UnlockOSThread()
	return err
}

// leave ends the thread. Nobody may call do any more.
func (s *space) leave() {
	close(s.calls)
	<-s.ended
	if s.fd != nil {
		s.fd.Close()
	}
}

// close ends the thread and takes away the name.
func (s *space) close() error {
	s.leave()
	return vanish(s.name)
}
