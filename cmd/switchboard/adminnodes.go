package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"switchboard/signaling/admin"
)

func (p program) adminNodes(ctx context.Context, args []string) error {
	f := p.adminFlags("nodes")
	if _, err := f.parse(args); err != nil {
		return err
	}
	c, err := f.client(p)
	if err != nil {
		return err
	}
	n, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.Nodes, error) { return c.Nodes(ctx) })
	if err != nil || *f.json {
		return p.orJSON(n, err)
	}
	t := p.table("NODE", "INCARNATION", "REGION", "STATE", "SESSIONS", "MAX", "STARTED", "VERSION", "URL")
	for _, n := range n.Nodes {
		state := "in service"
		if n.Draining {
			state = "draining"
		}
		t.row(dash(n.Node), n.Incarnation, dash(n.Region), state, n.Sessions, n.Max, moment(n.Started), dash(n.Version), dash(n.URL))
	}
	return t.Flush()
}

// mostSessions bounds what one command lists where no other bound is given.
const mostSessions = 1000

func (p program) adminSessions(ctx context.Context, args []string) error {
	f := p.adminFlags("sessions")
	w := f.whose()
	node := f.String("node", "", "the `node`; without it, the one that answers")
	number := f.String("number", "", "the `number` of whose sessions")
	limit := f.Int("limit", mostSessions, "how many to list")
	if _, err := f.parse(args); err != nil {
		return err
	}
	if (*number != "" || *w.account != "") && *node != "" {
		return f.usage("-node and -number exclude each other")
	}
	if *limit < 1 {
		return f.usage("-limit: %d is none", *limit)
	}
	c, err := f.client(p)
	if err != nil {
		return err
	}
	s, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.Sessions, error) {
		if *number == "" && *w.account == "" {
			return allSessions(ctx, c, cmp.Or(*node, "self"), *limit)
		}
		a, err := w.find(ctx, p, c, *number)
		if err != nil {
			return admin.Sessions{}, err
		}
		return c.AccountSessions(ctx, a.Account)
	})
	if err != nil || *f.json {
		return p.orJSON(s, err)
	}
	t := p.table("SESSION", "ACCOUNT", "DEVICE", "NODE", "STATE", "SINCE", "REMOTE")
	for _, s := range s.Sessions {
		t.row(s.Session, s.Account, s.Device, s.Node, s.State, moment(s.Since), dash(s.Remote))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if s.Next != "" {
		fmt.Fprintf(p.stderr, "switchboard: there are more; raise -limit, which is %d\n", *limit)
	}
	return nil
}

// allSessions reads pages until there are as many sessions as are wanted.
func allSessions(ctx context.Context, c *admin.Client, node string, limit int) (all admin.Sessions, err error) {
	all.Sessions = []admin.Session{}
	for {
		page, err := c.NodeSessions(ctx, node, all.Next, min(limit-len(all.Sessions), 500))
		if err != nil {
			return all, err
		}
		all.Sessions, all.Next = append(all.Sessions, page.Sessions...), page.Next
		if all.Next == "" || len(all.Sessions) >= limit {
			return all, nil
		}
	}
}

func (p program) adminRelays(ctx context.Context, args []string) error {
	f := p.adminFlags("relays")
	if _, err := f.parse(args); err != nil {
		return err
	}
	c, err := f.client(p)
	if err != nil {
		return err
	}
	r, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.Relays, error) { return c.Relays(ctx) })
	if err != nil || *f.json {
		return p.orJSON(r, err)
	}
	if len(r.Relays) == 0 {
		_, err := fmt.Fprintln(p.stdout, "no relays; calls connect directly or not at all")
		return err
	}
	t := p.table("RELAY", "REGION", "ZONE", "STATE", "ALLOCATIONS", "VERSION", "URL")
	for _, r := range r.Relays {
		allocations := "-"
		if r.Allocations != nil {
			allocations = fmt.Sprintf("%d of %d", *r.Allocations, r.Max)
		}
		for _, u := range r.URLs {
			t.row(cmp.Or(r.Name, "-"), cmp.Or(r.Region, "-"), cmp.Or(r.Zone, "-"), r.State, allocations, cmp.Or(r.Version, "-"), u)
		}
	}
	return t.Flush()
}

func (p program) adminDrain(ctx context.Context, args []string) error {
	return p.setDrain(ctx, "drain", args, true)
}

func (p program) adminUndrain(ctx context.Context, args []string) error {
	return p.setDrain(ctx, "undrain", args, false)
}

func (p program) setDrain(ctx context.Context, name string, args []string, on bool) error {
	f := p.adminFlags(name)
	wait := new(time.Duration)
	if on {
		wait = f.Duration("wait", 0, "how long to wait until the node has no sessions")
	}
	found, err := f.parse(args, "NODE")
	if err != nil {
		return err
	}
	c, err := f.client(p)
	if err != nil {
		return err
	}
	d, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.Drained, error) { return c.Drain(ctx, found[0], on) })
	if err == nil && *wait > 0 {
		err = untilEmpty(ctx, f, c, d.Incarnation, *wait)
	}
	if err != nil || *f.json {
		return p.orJSON(d, err)
	}
	if *wait > 0 {
		fmt.Fprintf(p.stdout, "%s is out of service and has no sessions\n", d.Incarnation)
	} else if on {
		fmt.Fprintf(p.stdout, "%s sends its sessions elsewhere and takes none, until it is undrained or stopped\n", d.Incarnation)
	} else {
		fmt.Fprintf(p.stdout, "%s is in service\n", d.Incarnation)
	}
	return nil
}

// untilEmpty waits until a node has no sessions.
func untilEmpty(ctx context.Context, f *adminFlags, c *admin.Client, node string, wait time.Duration) error {
	over := time.After(wait)
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		s, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.Sessions, error) {
			return c.NodeSessions(ctx, node, "", 1)
		})
		if err != nil || len(s.Sessions) == 0 {
			return err
		}
		select {
		case <-again.C:
		case <-over:
			return fmt.Errorf("%s still has sessions after %v; it goes on draining", node, wait)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
