package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"switchboard/directory"
	"switchboard/signaling/admin"
)

// whose are the flags that say whose account is meant.
type whose struct {
	account, region *string
}

func (f *adminFlags) whose() whose {
	w := whose{
		account: f.String("account", "", "the `account`, in place of its number"),
		region:  f.String("region", "", "the `country` whose national form the number has"),
	}
	f.insteadOfNumber = w.account
	return w
}

// find looks an account up.
func (w whose) find(ctx context.Context, p program, c *admin.Client, number string) (admin.Account, error) {
	if *w.account != "" {
		if !directory.Account(*w.account).Valid() {
			return admin.Account{}, usageError{fmt.Errorf("-account: %q is not an account: 13 of 0-9 and a-v, as lookup shows it", *w.account)}
		}
		return c.Account(ctx, directory.Account(*w.account))
	}
	if number == "-" {
		line, err := bufio.NewReader(io.LimitReader(p.stdin, 256)).ReadString('\n')
		if number = strings.TrimSpace(line); number == "" {
			return admin.Account{}, fmt.Errorf("no number on standard input: %w", cmp.Or(err, io.ErrUnexpectedEOF))
		}
	}
	return c.Lookup(ctx, number, strings.ToUpper(*w.region))
}

func (p program) adminLookup(ctx context.Context, args []string) error {
	f := p.adminFlags("lookup")
	w := f.whose()
	found, err := f.parse(args, argNumber)
	if err != nil {
		return err
	}
	c, err := f.client(p)
	if err != nil {
		return err
	}
	a, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.Account, error) {
		return w.find(ctx, p, c, strings.Join(found, ""))
	})
	if err != nil || *f.json {
		return p.orJSON(a, err)
	}
	return p.printAccount(a)
}

func (p program) printAccount(a admin.Account) error {
	fmt.Fprintf(p.stdout, "account  %s\nnumber   %s\ncreated  %s\n", a.Account, a.Number.E164(), moment(a.Created))
	switch {
	case a.Online:
		fmt.Fprintln(p.stdout, "online   yes")
	case a.LastSeen != nil:
		fmt.Fprintf(p.stdout, "online   no; last seen %s\n", moment(*a.LastSeen))
	default:
		fmt.Fprintln(p.stdout, "online   no")
	}
	fmt.Fprintf(p.stdout, "shown    online and last seen to %s; found by %s; read receipts to %s; relayed with %s\n", a.Settings.LastSeen, a.Settings.Discoverable, a.Settings.ReadReceipts, a.Settings.Relayed)
	fmt.Fprintf(p.stdout, "knows    %d numbers, blocks %d\n", a.Contacts, a.Blocks)
	if len(a.Devices) == 0 {
		fmt.Fprintln(p.stdout, "devices  none")
		return nil
	}
	fmt.Fprintln(p.stdout)
	t := p.table("DEVICE", "NAME", "CREATED", "WAITING", "NODE", "STATE", "SINCE", "WOKEN BY")
	for _, d := range a.Devices {
		s := cmp.Or(d.Session, &admin.Session{State: "away"})
		t.row(d.Device, plain(d.Name), moment(d.Created), d.Waiting, dash(s.Node), s.State, moment(s.Since), dash(d.Push))
	}
	return t.Flush()
}

func (p program) adminEndSession(ctx context.Context, args []string) error {
	f := p.adminFlags("end-session")
	node := f.String("node", "", "the `node` of the session that is named")
	f.whose()
	if found, err := f.scan(args); err != nil {
		return err
	} else if *node != "" {
		return p.endNamed(ctx, f, *node, found)
	}
	f = p.adminFlags("end-session")
	return p.onDevice(ctx, f, args, func(ctx context.Context, c *admin.Client, a admin.Account, d admin.Device) (string, error) {
		return fmt.Sprintf("session of device %d ended; it may connect again", d.Device), c.EndSession(ctx, a.Account, d.Device)
	})
}

// endNamed ends a session by its name.
func (p program) endNamed(ctx context.Context, f *adminFlags, node string, found []string) error {
	if err := f.count(found, "SESSION"); err != nil {
		return err
	}
	c, err := f.client(p)
	if err != nil {
		return err
	}
	done, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.Done, error) {
		return admin.Done{Done: true}, c.EndNodeSession(ctx, node, found[0])
	})
	if err != nil || *f.json {
		return p.orJSON(done, err)
	}
	fmt.Fprintln(p.stdout, "session ended; its device may connect again")
	return nil
}

func (p program) adminRemoveDevice(ctx context.Context, args []string) error {
	f := p.adminFlags("remove-device")
	sure := f.Bool("yes", false, "it is meant")
	return p.onDevice(ctx, f, args, func(ctx context.Context, c *admin.Client, a admin.Account, d admin.Device) (string, error) {
		if !*sure {
			return "", usageError{fmt.Errorf("device %d, %q, with %d waiting items would be removed for good; say -yes if that is meant", d.Device, d.Name, d.Waiting)}
		}
		return fmt.Sprintf("device %d removed", d.Device), c.RemoveDevice(ctx, a.Account, d.Device)
	})
}

// onDevice does something to a device of an account.
func (p program) onDevice(ctx context.Context, f *adminFlags, args []string, do func(context.Context, *admin.Client, admin.Account, admin.Device) (string, error)) error {
	w := f.whose()
	found, err := f.parse(args, argNumber, "DEVICE")
	if err != nil {
		return err
	}
	dev, err := strconv.ParseUint(found[len(found)-1], 10, 32)
	if err != nil || dev == 0 {
		return f.usage("DEVICE: %q is not a number such as 1", found[len(found)-1])
	}
	c, err := f.client(p)
	if err != nil {
		return err
	}
	said, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (string, error) {
		a, err := w.find(ctx, p, c, found[0])
		if err != nil {
			return "", err
		}
		for _, d := range a.Devices {
			if uint64(d.Device) == dev {
				return do(ctx, c, a, d)
			}
		}
		return "", fmt.Errorf("the account has no device %d", dev)
	})
	if err != nil || *f.json {
		return p.orJSON(admin.Done{Done: true}, err)
	}
	fmt.Fprintln(p.stdout, said)
	return nil
}
