package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"switchboard/relay/internal/netns"
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
	*netns.Thread
	// Static after newSpace.
	name string // of the namespace
	id   nsid
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
	thread, err := netns.New(unix.CLONE_NEWNS, func() error { return enter(name) })
	if err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", name, errors.Join(err, vanish(name)))
	}
	s := &space{Thread: thread, name: name}
	if err := s.appear(); err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", name, errors.Join(err, s.close()))
	}
	return s, nil
}

// enter makes the calling thread, which is in a new namespace, see a /sys and files that show
// it.
func enter(name string) error {
	if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	for _, file := range []string{hostname, resolver} {
		if err := unix.Mount(filepath.Join(filesDir, name, file), filepath.Join("/etc", file), "none", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("mount over /etc/%s: %w", file, err)
		}
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
		if err := netns.Sysctl(file, value); err != nil {
			return err
		}
	}
	return nil
}

// appear gives the namespace its name. The caller is outside of it.
func (s *space) appear() error {
	path := filepath.Join(netnsDir, s.name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	f.Close()
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", s.FD()), path, "none", unix.MS_BIND, ""); err != nil {
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

// close ends the thread and takes away the name.
func (s *space) close() error {
	s.Close()
	return vanish(s.name)
}
