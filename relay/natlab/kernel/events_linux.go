package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Reboot has a router forget its mappings and what it has let in. It takes no time.
func (l *Lab) Reboot(ctx context.Context, router string) error {
	return l.event(func() error {
		rules, ok := l.rulesets[router]
		if !ok {
			return fmt.Errorf("no router is called %q", router)
		}
		s := l.spaces[router]
		if t := l.translators[router]; t != nil {
			t.reboot()
		}
		if text := rules.forget(); text != "" {
			if err := s.nft(ctx, text); err != nil {
				return err
			}
		}
		return s.Do(flushConnections)
	})
}

// Cut takes a network from everybody, or gives it back. Whoever sends notices nothing.
func (l *Lab) Cut(ctx context.Context, network string, on bool) error {
	return l.event(func() error {
		if _, ok := l.plan.top.Networks[network]; !ok {
			return fmt.Errorf("no network is called %q", network)
		}
		if l.cut[network] == on {
			return nil
		}
		rules := cutRules
		if !on {
			rules = uncutRules
		}
		if err := l.spaces[network].nft(ctx, rules); err != nil {
			return err
		}
		l.cut[network] = on
		return nil
	})
}

// Move has a host leave all its networks for another of those in its [natlab.HostSpec], as
// from Wi-Fi to mobile. Its new interface is another one.
func (l *Lab) Move(ctx context.Context, host, network string) error {
	return l.event(func() error {
		if err := l.mayEnter(host, network); err != nil {
			return err
		}
		for len(l.ifaces[host]) > 0 {
			if err := l.leave(ctx, host, l.ifaces[host][0]); err != nil {
				return err
			}
		}
		return l.join(ctx, host, network)
	})
}

// Join has a host enter another network of its HostSpec, and send that way all that is not for
// a network that it is in, as with a VPN. In a network that it is in already, that one's
// interface is made anew.
func (l *Lab) Join(ctx context.Context, host, network string) error {
	return l.event(func() error {
		if err := l.mayEnter(host, network); err != nil {
			return err
		}
		if i := l.in(host, network); i != nil {
			if err := l.leave(ctx, host, i); err != nil {
				return err
			}
		}
		return l.join(ctx, host, network)
	})
}

// Leave undoes Join. If the host is not in the network, nothing happens.
func (l *Lab) Leave(ctx context.Context, host, network string) error {
	return l.event(func() error {
		if err := l.mayEnter(host, network); err != nil {
			return err
		}
		i := l.in(host, network)
		if i == nil {
			return nil
		}
		if err := l.leave(ctx, host, i); err != nil {
			return err
		}
		return l.tellHosts()
	})
}

// event does f, unless the lab is closed.
func (l *Lab) event(f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	return f()
}

func (l *Lab) mayEnter(host, network string) error {
	spec, ok := l.plan.top.Hosts[host]
	switch {
	case !ok:
		return fmt.Errorf("no host is called %q", host)
	case !slices.Contains(spec.Networks, network):
		return fmt.Errorf("network %q is not among those of host %q, %v", network, host, spec.Networks)
	}
	return nil
}

func (l *Lab) in(host, network string) *iface {
	for _, i := range l.ifaces[host] {
		if i.network == network {
			return i
		}
	}
	return nil
}

func (l *Lab) leave(ctx context.Context, host string, i *iface) error {
	l.ifaces[host] = slices.DeleteFunc(l.ifaces[host], func(x *iface) bool { return x == i })
	if i.wire != nil {
		i.wire.close()
		return nil
	}
	return l.spaces[host].ip(ctx, batch{"link del dev " + i.dev})
}

func (l *Lab) join(ctx context.Context, host, network string) error {
	i := l.newIface(host, network)
	var b batch
	w, err := l.cable(&b, host, i.dev, network)
	if err != nil {
		return err
	}
	i.wire = w
	l.ifaces[host] = slices.Insert(l.ifaces[host], 0, i)
	// The bridge's end first, so that the first packet finds its way.
	b.add("link set dev %s master %s up", port(host), bridgeDev)
	if err := l.spaces[network].ip(ctx, b); err != nil {
		return err
	}
	if err := l.impair(ctx, host, i.dev, network); err != nil {
		return err
	}
	l.startWire(w, host, network)
	if err := errors.Join(l.spaces[network].finishSums(), l.spaces[host].finishSums()); err != nil {
		return err
	}
	addrs := l.plan.leases[place{host, network}].valid()
	if err := l.spaces[host].ip(ctx, l.plan.own(network, i.dev, "", addrs, i.metric)); err != nil {
		return err
	}
	return l.tellHosts()
}

// tellHosts writes all hosts files anew.
func (l *Lab) tellHosts() error {
	for host := range l.ifaces {
		if err := l.writeHosts(host); err != nil {
			return err
		}
	}
	return nil
}

// flushConnections has conntrack forget all in the calling thread's namespace, as `conntrack
// -F` does.
func flushConnections() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("netfilter: %w", err)
	}
	defer unix.Close(fd)
	const ctDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE
	return request(fd, ctDelete, unix.NLM_F_REQUEST|unix.NLM_F_ACK, []byte{unix.AF_UNSPEC, 0, 0, 0})
}
