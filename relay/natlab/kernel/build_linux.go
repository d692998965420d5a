package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"switchboard/relay/internal/netns"
	"switchboard/relay/natlab"
)

// Build makes a topology of network namespaces. ctx bounds only the making. It needs root,
// and the programs ip and nft: [Doctor] says what is missing. After an error nothing is
// left.
func Build(ctx context.Context, t natlab.Topology, opts Options) (*Lab, error) {
	l, err := newLab(t, opts)
	if err != nil {
		return nil, fmt.Errorf("natlab: %w", err)
	}
	if err := l.build(ctx); err != nil {
		return nil, fmt.Errorf("natlab: %w", errors.Join(err, l.Close()))
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context) error {
	for _, host := range sorted(l.plan.top.Hosts) {
		l.ifaces[host] = []*iface{l.newIface(host, l.plan.top.Hosts[host].Networks[0])}
	}
	if err := l.state.write(); err != nil {
		return err
	}
	if err := shareNetns(); err != nil {
		return fmt.Errorf("share %s: %w", netnsDir, err)
	}
	if err := l.makeSpaces(); err != nil {
		return err
	}
	scripts, err := l.cables(ctx)
	if err != nil {
		return err
	}
	if err := l.configure(ctx, scripts); err != nil {
		return err
	}
	l.start()
	return ctx.Err()
}

// newIface is a host's next interface. Newer ones come before older ones.
func (l *Lab) newIface(host, network string) *iface {
	n := l.made[host]
	l.made[host]++
	return &iface{network: network, dev: fmt.Sprintf("eth%d", n), metric: 1000 - n}
}

// makeSpaces makes all namespaces, with the devices of user-space routers in them.
func (l *Lab) makeSpaces() error {
	var names []string
	names = append(names, sorted(l.plan.top.Networks)...)
	names = append(names, sorted(l.plan.top.Routers)...)
	names = append(names, sorted(l.plan.top.Hosts)...)
	made := make([]*space, len(names))
	var g errgroup.Group
	g.SetLimit(8)
	for i, name := range names {
		g.Go(func() (err error) {
			if err = l.writeFiles(name); err == nil {
				made[i], err = newSpace(l.Namespace(name))
			}
			return err
		})
	}
	err := g.Wait()
	for i, s := range made {
		if s != nil {
			l.spaces[names[i]] = s
		}
	}
	if err != nil {
		return err
	}
	for _, name := range sorted(l.plan.top.Routers) {
		if err := l.prepareRouter(name); err != nil {
			return fmt.Errorf("router %q: %w", name, err)
		}
	}
	return nil
}

// writeFiles are those that lie over /etc in a namespace.
func (l *Lab) writeFiles(name string) error {
	dir := filepath.Join(filesDir, l.Namespace(name))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, resolver), []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		return err
	}
	return l.writeHosts(name)
}

// writeHosts tells a host of all others. The file stays the same one, since it is mounted
// over another.
func (l *Lab) writeHosts(name string) error {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	if _, ok := l.plan.top.Hosts[name]; ok {
		for _, other := range sorted(l.plan.top.Hosts) {
			addrs, _ := l.lookup(name, other)
			for _, a := range addrs {
				fmt.Fprintf(&b, "%s %s\n", a, other)
			}
		}
	}
	return os.WriteFile(filepath.Join(filesDir, l.Namespace(name), hostname), []byte(b.String()), 0o644)
}

// prepareRouter does what has to be done before there are other devices.
func (l *Lab) prepareRouter(name string) error {
	r := l.plan.top.Routers[name]
	return l.spaces[name].Do(func() (err error) {
		if l.choices[name].How == "tun" {
			t, err := newTranslator(*r.NAT, l.plan.outside[name][0], l.rand("ports of "+name))
			if err != nil {
				return err
			}
			l.translators[name] = t
		}
		for file, value := range map[string]string{
			"ipv4/ip_forward":                                "1",
			"ipv6/conf/all/forwarding":                       "1",
			"ipv6/conf/default/forwarding":                   "1",
			"ipv4/conf/all/accept_local":                     "1", // a hairpinned packet comes from the external address
			"ipv4/conf/all/send_redirects":                   "0",
			"ipv4/conf/default/send_redirects":               "0",
			"netfilter/nf_conntrack_udp_timeout":             fmt.Sprint(lifetime),
			"netfilter/nf_conntrack_udp_timeout_stream":      fmt.Sprint(lifetime),
			"netfilter/nf_conntrack_tcp_timeout_established": fmt.Sprint(int(natlab.TCPTimeout.Seconds())),
		} {
			err = errors.Join(err, netns.Sysctl(file, value))
		}
		return err
	})
}

// cables makes all cables, and returns what each namespace has to do with its ends.
func (l *Lab) cables(ctx context.Context) (map[string]batch, error) {
	var veths batch
	scripts := make(map[string]batch)
	for _, n := range sorted(l.plan.top.Networks) {
		scripts[n] = l.plan.hub(n)
	}
	plug := func(network, port string) {
		b := scripts[network]
		b.add("link set dev %s master %s up", port, bridgeDev)
		scripts[network] = b
	}
	for _, name := range sorted(l.plan.top.Routers) {
		r := l.plan.top.Routers[name]
		veths.add("%s", l.veth(name, innerDev, r.Inside, innerPort(name)))
		plug(r.Inside, innerPort(name))
		w, err := l.cable(&veths, name, outerDev, r.Outside)
		if err != nil {
			return nil, err
		}
		l.wires[name] = w
		plug(r.Outside, port(name))
		scripts[name] = append(l.plan.inner(name), l.plan.own(r.Outside, outerDev, name, l.External(name), 1000)...)
		if l.choices[name].How == "tun" {
			scripts[name] = append(scripts[name], l.plan.steer(name)...)
		}
	}
	for _, host := range sorted(l.plan.top.Hosts) {
		i := l.ifaces[host][0]
		w, err := l.cable(&veths, host, i.dev, i.network)
		if err != nil {
			return nil, err
		}
		i.wire = w
		plug(i.network, port(host))
		scripts[host] = l.plan.own(i.network, i.dev, "", l.addrs(host), i.metric)
	}
	return scripts, l.spaces[natlab.Internet].ip(ctx, veths)
}

// cable makes the one between a host, or a router's outside, and a network: one in user
// space if the network's link needs that, and else what is to be added to
// veths.
func (l *Lab) cable(veths *batch, name, dev, network string) (*wire, error) {
	if l.DescribeLink(network).How != "user" {
		veths.add("%s", l.veth(name, dev, network, port(name)))
		return nil, nil
	}
	w, err := newWire(l.spaces[name], dev, l.spaces[network], port(name))
	if err != nil {
		return nil, fmt.Errorf("link of %q and network %q: %w", name, network, err)
	}
	return w, nil
}

// veth has ip make a pair with both its ends elsewhere. No two ends have the same index: for
// those, the kernel takes up to a second to notice that the other end is up.
func (l *Lab) veth(name, dev, network, port string) string {
	l.index += 2
	return fmt.Sprintf("link add name %s index %d netns %s type veth peer name %s index %d netns %s",
		dev, l.index, l.Namespace(name), port, l.index+1, l.Namespace(network))
}

// configure has all namespaces do their part at once.
func (l *Lab) configure(ctx context.Context, scripts map[string]batch) error {
	var g errgroup.Group
	g.SetLimit(4)
	run := func(name string) {
		b := append(batch{"link set dev lo up"}, scripts[name]...)
		g.Go(func() error { return l.spaces[name].ip(ctx, b) })
	}
	for _, name := range sorted(l.rulesets) {
		run(name)
		g.Go(func() error { return l.spaces[name].nft(ctx, l.rulesets[name].String()) })
	}
	for _, name := range sorted(l.plan.top.Hosts) {
		run(name)
	}
	if err := g.Wait(); err != nil {
		return err
	}
	// Bridges come last: the kernel may notice only a second later that one's port got a
	// carrier.
	for _, name := range sorted(l.plan.top.Networks) {
		b := scripts[name]
		b.add("link set dev %s up", bridgeDev)
		scripts[name] = b
		run(name)
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, s := range l.spaces {
		if err := s.finishSums(); err != nil {
			return err
		}
	}
	if err := l.impairAll(ctx); err != nil {
		return err
	}
	for name := range l.translators {
		if err := l.spaces[name].Do(func() error {
			return errors.Join(netns.Sysctl("ipv4/conf/"+outerDev+"/proxy_arp", "1"), netns.Sysctl("ipv4/neigh/"+outerDev+"/proxy_delay", "0"))
		}); err != nil {
			return fmt.Errorf("router %q: %w", name, err)
		}
	}
	return nil
}

// start has user-space routers and cables work.
func (l *Lab) start() {
	for _, t := range l.translators {
		t.start()
	}
	for name, w := range l.wires {
		l.startWire(w, name, l.plan.top.Routers[name].Outside)
	}
	for host, is := range l.ifaces {
		l.startWire(is[0].wire, host, is[0].network)
	}
}

func (l *Lab) startWire(w *wire, name, network string) {
	if w != nil {
		w.start(l.plan.top.Networks[network].Link, l.rand(name+" to "+network), l.rand(network+" to "+name))
	}
}
