package offload

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// right is a capability (capabilities(7)) that opening a [Path] takes, or is better for.
type right struct {
	name string
	bit  uint
}

var (
	rightNetAdmin = right{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}
	rightBPF      = right{"CAP_BPF", unix.CAP_BPF}
	rightPerfmon  = right{"CAP_PERFMON", unix.CAP_PERFMON}
)

// rights are the capabilities of a thread, as capset(2) has them: the lower 32, and the
// others.
type rights [2]unix.CapUserData

func rightsHere() (r rights, err error) {
	err = unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &r[0])
	return r, err
}

// enact gives the calling thread these rights.
func (r rights) enact() error {
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &r[0])
}

// enactEverywhere gives all threads of the process these rights. It fails with
// [syscall.ENOTSUP] where C is linked in, whose threads are not known here.
func (r rights) enactEverywhere() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&r[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&r)
	if errno != 0 {
		return errno
	}
	return nil
}

func (r rights) has(x right) bool { return r[x.bit/32].Permitted&(1<<(x.bit%32)) != 0 }

// resting are the rights without some that are not in effect for the moment.
func (r rights) resting(some []right) rights {
	for _, x := range some {
		r[x.bit/32].Effective &^= 1 << (x.bit % 32)
	}
	return r
}

// without are the rights without some that do not come back.
func (r rights) without(some []right) rights {
	r = r.resting(some)
	for _, x := range some {
		r[x.bit/32].Permitted &^= 1 << (x.bit % 32)
		r[x.bit/32].Inheritable &^= 1 << (x.bit % 32) // and with it from those that programs inherit
	}
	return r
}

// ErrRightsKept says that a program into which C is linked cannot give up rights.
var ErrRightsKept = errors.New("offload: rights are kept that are needed no more, as this program was not built with CGO_ENABLED=0")

// GiveUp has the whole process give up those capabilities that Open took and that the Path
// has been seen to do without now, and returns their names. What that is depends on the
// kernel. Another Path cannot be opened then. Root, who could have them back, keeps them.
func (p *Path) GiveUp() (names []string, err error) {
	have, err := rightsHere()
	if err != nil {
		return nil, fmt.Errorf("offload: capabilities: %w", err)
	}
	if os.Geteuid() == 0 || os.Getuid() == 0 {
		return nil, nil
	}
	for _, some := range [][]right{{rightNetAdmin, rightBPF, rightPerfmon}, {rightBPF, rightPerfmon}} {
		if some = have.some(some); len(some) == 0 {
			return nil, nil
		}
		if p.doesWithout(have, some) != nil {
			continue
		}
		switch err := have.without(some).enactEverywhere(); {
		case errors.Is(err, unix.ENOTSUP):
			return nil, ErrRightsKept
		case err != nil:
			return nil, fmt.Errorf("offload: capset: %w", err)
		}
		for _, x := range some {
			names = append(names, x.name)
		}
		return names, nil
	}
	return nil, nil
}

// some are those of some rights that there are.
func (r rights) some(all []right) (some []right) {
	for _, x := range all {
		if r.has(x) {
			some = append(some, x)
		}
	}
	return some
}

// doesWithout tries all that is done while the Path is in use, in a thread that has not
// some of its rights meanwhile.
func (p *Path) doesWithout(have rights, some []right) (err error) {
	runtime.LockOSThread()
	if err := have.resting(some).enact(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		if back := have.enact(); back != nil {
			err = errors.Join(err, back) // and the thread ends with the goroutine, which nobody else gets
			return
		}
		runtime.UnlockOSThread()
	}()
	f, err := p.install(trials(p.port)[0], [2]Meters{}, [2]route{{1, 1500}, {1, 1500}})
	if err != nil {
		return err
	}
	p.Remove(f)
	if _, err := p.Reconcile(); err != nil {
		return err
	}
	if _, err := p.Left(); err != nil {
		return err
	}
	return p.tryAttach()
}

// tryAttach attaches the program to the loopback interface, where it finds no packet of
// its flows, and detaches it.
func (p *Path) tryAttach() error {
	links, err := p.routes.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		if a := l.Attrs(); a.Flags&net.FlagLoopback != 0 {
			c, err := p.attach(a.Index)
			if err != nil {
				return err
			}
			return c.Close()
		}
	}
	return errors.New("offload: there is no loopback interface")
}
