package main

import (
	"context"
	"fmt"
	"strconv"

	"switchboard/directory"
	"switchboard/signaling/admin"
)

// adminPushes lists the pushes that could not be brought.
func (p program) adminPushes(ctx context.Context, args []string) error {
	f := p.adminFlags("pushes")
	w := f.whose()
	number := f.String("number", "", "the `number` of whose devices")
	limit := f.Int("limit", mostSessions, "how many to list")
	if _, err := f.parse(args); err != nil {
		return err
	}
	if *limit < 1 {
		return f.usage("-limit: %d is none", *limit)
	}
	c, err := f.client(p)
	if err != nil {
		return err
	}
	dead, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.DeadPushes, error) {
		var of directory.Account
		if *number != "" || *w.account != "" {
			a, err := w.find(ctx, p, c, *number)
			if err != nil {
				return admin.DeadPushes{}, err
			}
			of = a.Account
		}
		return allDeadPushes(ctx, c, of, *limit)
	})
	if err != nil || *f.json {
		return p.orJSON(dead, err)
	}
	t := p.table("PLACE", "ENDED", "ACCOUNT", "DEVICE", "KIND", "SERVICE", "REASON", "TRIED", "WHY")
	for _, d := range dead.Pushes {
		t.row(d.Place, moment(d.Ended), d.Account, d.Device, d.Kind, dash(d.Service), d.Reason, d.Tried, plain(d.Why))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if dead.Next != 0 {
		fmt.Fprintf(p.stderr, "switchboard: there are more; raise -limit, which is %d\n", *limit)
	}
	return nil
}

// allDeadPushes reads pages until there are as many as are wanted.
func allDeadPushes(ctx context.Context, c *admin.Client, of directory.Account, limit int) (all admin.DeadPushes, err error) {
	all.Pushes = []admin.DeadPush{}
	for {
		page, err := c.DeadPushes(ctx, of, all.Next, min(limit-len(all.Pushes), 500))
		if err != nil {
			return all, err
		}
		all.Pushes, all.Next = append(all.Pushes, page.Pushes...), page.Next
		if all.Next == 0 || len(all.Pushes) >= limit {
			return all, nil
		}
	}
}

func (p program) adminRetryPush(ctx context.Context, args []string) error {
	return p.changeDeadPush(ctx, "retry-push", args, (*admin.Client).RetryPush, "the device is woken once more")
}

func (p program) adminDropPush(ctx context.Context, args []string) error {
	return p.changeDeadPush(ctx, "drop-push", args, (*admin.Client).DropPush, "dropped")
}

func (p program) changeDeadPush(ctx context.Context, name string, args []string, do func(*admin.Client, context.Context, int) error, words string) error {
	f := p.adminFlags(name)
	found, err := f.parse(args, "PLACE")
	if err != nil {
		return err
	}
	place, err := strconv.Atoi(found[0])
	if err != nil || place < 1 {
		return f.usage("%q is no PLACE; \"pushes\" shows them", found[0])
	}
	c, err := f.client(p)
	if err != nil {
		return err
	}
	_, err = ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.Done, error) {
		return admin.Done{Done: true}, do(c, ctx, place)
	})
	if err != nil || *f.json {
		return p.orJSON(admin.Done{Done: true}, err)
	}
	fmt.Fprintln(p.stdout, words)
	return nil
}
