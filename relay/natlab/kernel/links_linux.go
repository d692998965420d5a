package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// DescribeLink is what does the work of a network's links and why: "veth", "kernel" or "user".
// The zero value is for a network that is not there.
func (l *Lab) DescribeLink(network string) Choice {
	if n, ok := l.plan.top.Networks[network]; ok {
		return chooseLink(n.Link, l.opts.Links)
	}
	return Choice{}
}

// impair has the kernel do what the link of a cable is to do, unless that is nothing or done in
// user space. The cable's ends are there.
func (l *Lab) impair(ctx context.Context, name, dev, network string) error {
	c := l.plan.top.Networks[network].Link
	if l.DescribeLink(network).How != "kernel" {
		return nil
	}
	if c.Loss > 0 {
		if err := l.spaces[network].nft(ctx, lossRules(port(name), c.Loss)); err != nil {
			return err
		}
	}
	for _, end := range []struct {
		space *space
		dev   string
	}{{l.spaces[name], dev}, {l.spaces[network], port(name)}} {
		// Packets of TCP are lost one by one, too.
		if err := end.space.ip(ctx, batch{fmt.Sprintf("link set dev %s gso_max_segs 1", end.dev)}); err != nil {
			return err
		}
		if c.Rate == 0 {
			continue
		}
		if out, err := end.space.program(ctx, "", "tc", rateArgs(end.dev, c)...); err != nil {
			return fmt.Errorf("tc in %s: %w: %s", end.space.name, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// impairAll is impair for all cables that a lab begins with.
func (l *Lab) impairAll(ctx context.Context) error {
	var errs []error
	for _, name := range sorted(l.plan.top.Routers) {
		errs = append(errs, l.impair(ctx, name, outerDev, l.plan.top.Routers[name].Outside))
	}
	for _, host := range sorted(l.ifaces) {
		i := l.ifaces[host][0]
		errs = append(errs, l.impair(ctx, host, i.dev, i.network))
	}
	return errors.Join(errs...)
}
