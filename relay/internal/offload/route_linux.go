package offload

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// route is a way out: the interface, and what it takes in one packet.
type route struct{ link, mtu int }

func (p *Path) routesOf(e Ends) (r [perFlow]route, err error) {
	if e.Client.Addr().Is4() != e.Relay.Addr().Is4() {
		return r, ErrFamily
	}
	if r[up], err = p.route(e.Relay.Addr(), e.Peer.Addr()); err != nil {
		return r, err
	}
	r[down], err = p.route(e.Listener.Addr(), e.Client.Addr())
	return r, err
}

func (p *Path) route(from, to netip.Addr) (route, error) {
	r, err := p.lookUp(from, to)
	if err != nil {
		return route{}, err
	}
	mtu, ethernet := p.mtus[r.LinkIndex]
	switch {
	case r.Type == unix.RTN_LOCAL:
		return route{}, ErrLocal
	case r.Type != unix.RTN_UNICAST:
		return route{}, ErrRoute
	case !ethernet:
		return route{}, ErrInterface
	case r.MTU > 0:
		mtu = min(mtu, r.MTU)
	}
	return route{r.LinkIndex, mtu}, nil
}

func (p *Path) lookUp(from, to netip.Addr) (netlink.Route, error) {
	var options *netlink.RouteGetOptions
	if from.IsValid() {
		options = &netlink.RouteGetOptions{SrcAddr: from.AsSlice()}
	}
	list, err := p.routes.RouteGetWithOptions(to.AsSlice(), options)
	if err != nil || len(list) == 0 {
		return netlink.Route{}, ErrRoute
	}
	return list[0], nil
}

// From returns the address from which the kernel sends to another, where the socket is
// bound to none.
func (p *Path) From(to netip.Addr) (netip.Addr, error) {
	r, err := p.lookUp(netip.Addr{}, to)
	if err != nil {
		return netip.Addr{}, err
	}
	from, ok := netip.AddrFromSlice(r.Src)
	if !ok {
		return netip.Addr{}, ErrRoute
	}
	return from.Unmap(), nil
}

// Watch calls changed, from some goroutine, when interfaces, addresses or routes change,
// until done is closed. It calls lost when it will not be told of some of them any more,
// as when more has changed than the kernel keeps for a reader: then it is to be called
// anew. What it returns waits until it calls no more; where it fails, too.
func (p *Path) Watch(done <-chan struct{}, changed, lost func()) (wait func(), err error) {
	var all sync.WaitGroup
	links, addrs, routes := make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate), make(chan netlink.RouteUpdate)
	failed := func(error) { changed() } // something was missed
	ended := func() {
		select {
		case <-done:
		default:
			lost()
		}
	}
	follow(&all, links, changed, ended)
	follow(&all, addrs, changed, ended)
	follow(&all, routes, changed, ended)
	errs := []error{
		closing(links, netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: failed})),
		closing(addrs, netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ErrorCallback: failed})),
		closing(routes, netlink.RouteSubscribeWithOptions(routes, done, netlink.RouteSubscribeOptions{ErrorCallback: failed})),
	}
	if err := errors.Join(errs...); err != nil {
		return all.Wait, fmt.Errorf("offload: changes of the network are not told: %w", err)
	}
	return all.Wait, nil
}

// follow calls changed for each thing that comes from a channel, until it is closed, as
// the library does when it cannot receive.
func follow[T any](all *sync.WaitGroup, from <-chan T, changed, ended func()) {
	all.Go(func() {
		for range from {
			changed()
		}
		ended()
	})
}

// closing closes a channel that nobody will, as it was not subscribed to.
func closing[T any](c chan T, err error) error {
	if err != nil {
		close(c)
	}
	return err
}
