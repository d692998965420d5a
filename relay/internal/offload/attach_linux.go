package offload

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attachment is the program on one interface. Close detaches it.
type attachment struct {
	io.Closer
	name string
}

// Cover attaches the program to all Ethernet interfaces that are up and have an address
// that is wanted, detaches it from others, and returns the names of those that have it.
// What fails for one interface does not keep it from others.
func (p *Path) Cover(wanted func(netip.Addr) bool) (names []string, err error) {
	links, err := p.routes.LinkList()
	if err != nil {
		return nil, fmt.Errorf("offload: interfaces: %w", err)
	}
	p.attachMu.Lock()
	defer p.attachMu.Unlock()
	p.mtus = make(map[int]int)
	keep := make(map[int]bool)
	var errs []error
	for _, l := range links {
		a := l.Attrs()
		if a.EncapType != "ether" || a.Flags&net.FlagLoopback != 0 || a.Flags&net.FlagUp == 0 {
			continue
		}
		p.mtus[a.Index] = a.MTU
		if !p.hasAddress(l, wanted) {
			continue
		}
		keep[a.Index] = true
		if _, has := p.attached[a.Index]; !has {
			c, err := p.attach(a.Index)
			if err != nil {
				errs = append(errs, fmt.Errorf("offload: interface %s: %w", a.Name, err))
				continue
			}
			p.attached[a.Index] = attachment{c, a.Name}
		}
		names = append(names, a.Name)
	}
	for i, a := range p.attached {
		if !keep[i] {
			_ = a.Close() // fails where the interface is gone, and the program with it
			delete(p.attached, i)
		}
	}
	slices.Sort(names)
	return names, errors.Join(errs...)
}

func (p *Path) hasAddress(l netlink.Link, wanted func(netip.Addr) bool) bool {
	addrs, err := p.routes.AddrList(l, unix.AF_UNSPEC)
	if err != nil {
		return false // it is gone
	}
	return slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
		addr, ok := netip.AddrFromSlice(a.IP)
		return ok && wanted(addr.Unmap())
	})
}

// Detach detaches the program from all interfaces.
func (p *Path) Detach() (err error) {
	p.attachMu.Lock()
	defer p.attachMu.Unlock()
	for i, a := range p.attached {
		err = errors.Join(err, a.Close())
		delete(p.attached, i)
	}
	return err
}

func (p *Path) attach(index int) (io.Closer, error) {
	if !p.classic {
		l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: p.program, Attach: ebpf.AttachTCXIngress})
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, ebpf.ErrNotSupported) {
			return nil, err
		}
	}
	return p.attachClassic(index)
}

// classicPriority is where the filter stands among those of an interface.
const classicPriority = 0x5b00

// filter is the program as a filter of the clsact queueing discipline. It does not go with
// the process: where that is killed, the filter stays until the next one takes its place,
// and does nothing, as its flows have ended.
type filter struct{ of *netlink.BpfFilter }

func (p *Path) attachClassic(index int) (io.Closer, error) {
	err := netlink.QdiscAdd(&netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	})
	if err != nil && !errors.Is(err, unix.EEXIST) { // others use it, too
		return nil, fmt.Errorf("clsact: %w", err)
	}
	f := filter{&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: uint32(p.port), Protocol: unix.ETH_P_ALL, Priority: classicPriority,
		},
		Fd: p.program.FD(), Name: fmt.Sprint("switchboard-relay-", p.port), DirectAction: true,
	}}
	if err := netlink.FilterReplace(f.of); err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	return f, nil
}

func (f filter) Close() error { return netlink.FilterDel(f.of) }
