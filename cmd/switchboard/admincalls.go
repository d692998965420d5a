package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"switchboard/directory"
	"switchboard/signaling/admin"
)

// mostCalls bounds what one command lists where no other bound is given.
const mostCalls = 100

// callFlags say which calls are wanted.
type callFlags struct {
	*adminFlags
	whose
	call, since, until, in, reason, path *string
	limit                                *int
}

func (p program) callFlags() callFlags {
	f := p.adminFlags("calls")
	return callFlags{
		adminFlags: f, whose: f.whose(),
		call:   f.String("call", "", "the `id` of one call, which is shown whole"),
		since:  f.String("since", "", "only those that ended since then: a `time`, or how long ago, as 24h or 7d"),
		until:  f.String("until", "", "only those that ended by then: a `time`, or how long ago"),
		in:     f.String("in", "", "only those of callers of this `region`"),
		reason: f.String("reason", "", "only those that ended for this `reason`"),
		path:   f.String("path", "", "only those whose media went so: `direct, relay or none`"),
		limit:  f.Int("limit", mostCalls, "how many to list"),
	}
}

// parse reads args. What stands there without a flag is an account or the id of a
// call, if it has the form and a letter, or else a number: that must not become a part
// of a URL, however it is written.
func (f callFlags) parse(args []string) (number string, err error) {
	found, err := f.scan(args)
	if err != nil {
		return "", err
	}
	if *f.limit < 1 {
		return "", f.usage("-limit: %d is none", *f.limit)
	}
	switch {
	case len(found) == 0:
	case len(found) > 1:
		return "", f.usage("%q is one argument too many", found[1])
	case strings.IndexFunc(found[0], unicode.IsLetter) < 0 || !isCallID.MatchString(found[0]):
		number = found[0] // and "-", for standard input
	case directory.Account(found[0]).Valid():
		*f.account = found[0]
	default:
		*f.call = found[0]
	}
	if number != "" && *f.account != "" {
		return "", f.usage("a number and -account exclude each other")
	}
	return number, nil
}

var isCallID = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// query resolves whose calls are wanted.
func (f callFlags) query(ctx context.Context, p program, c *admin.Client, number string) (admin.CallsQuery, error) {
	q := admin.CallsQuery{Call: *f.call, Since: *f.since, Until: *f.until, Region: *f.in, Reason: *f.reason, Path: *f.path}
	if number == "" && *f.account == "" {
		return q, nil
	}
	a, err := f.find(ctx, p, c, number)
	q.Account = a.Account
	return q, err
}

// adminCalls lists calls that are over, or shows one.
func (p program) adminCalls(ctx context.Context, args []string) error {
	f := p.callFlags()
	number, err := f.parse(args)
	if err != nil {
		return err
	}
	c, err := f.client(p)
	if err != nil {
		return err
	}
	list, err := ask(ctx, f.adminFlags, c, func(ctx context.Context, c *admin.Client) (admin.CallRecords, error) {
		q, err := f.query(ctx, p, c, number)
		if err != nil {
			return admin.CallRecords{}, err
		}
		return allCalls(ctx, c, q, *f.limit)
	})
	switch {
	case err != nil:
		return err
	case *f.call != "" && len(list.Calls) == 0:
		return errors.New("there is no record of such a call; it is written some seconds after the end, and goes with its age")
	case *f.json:
		err = p.printCallLines(list.Calls)
	case len(list.Calls) == 0:
		_, err = fmt.Fprintln(p.stdout, "no calls that are over, of those that were asked for")
	case *f.call != "":
		err = p.printCalls(list.Calls)
	default:
		err = p.printCallTable(list.Calls)
	}
	if err == nil && list.Next != 0 {
		fmt.Fprintf(p.stderr, "switchboard: there are more; raise -limit, which is %d\n", *f.limit)
	}
	return err
}

// allCalls reads pages until there are as many calls as are wanted.
func allCalls(ctx context.Context, c *admin.Client, q admin.CallsQuery, limit int) (all admin.CallRecords, err error) {
	for {
		q.Before, q.Limit = all.Next, min(limit-len(all.Calls), 500)
		page, err := c.Calls(ctx, q)
		if err != nil {
			return all, err
		}
		all.Calls, all.Next = append(all.Calls, page.Calls...), page.Next
		if all.Next == 0 || len(all.Calls) >= limit {
			return all, nil
		}
	}
}

// printCallLines prints one record a line.
func (p program) printCallLines(calls []admin.CallRecord) error {
	e := json.NewEncoder(p.stdout)
	for _, c := range calls {
		if err := e.Encode(c); err != nil {
			return err
		}
	}
	return nil
}

func (p program) printCallTable(calls []admin.CallRecord) error {
	t := p.table("BEGAN", "FROM", "TO", "REASON", "TALKED", "PATH", "RELAY", "MOS", "REGION", "CALL")
	for _, c := range calls {
		t.row(moment(c.Created), dash(string(c.Caller.Account)), dash(string(c.Callee.Account)), plain(c.Reason), talked(&c), c.Path,
			relaysOf(&c), mosOf(&c.Caller)+" "+mosOf(&c.Callee), dash(c.Region), plain(c.Call))
	}
	return t.Flush()
}

// talked is how long a call was, for people.
func talked(c *admin.CallRecord) string {
	if c.AnsweredMS == nil {
		return "-"
	}
	return (time.Duration(c.TalkedMS) * time.Millisecond).Round(time.Second).String()
}

// relaysOf are the servers that carried a call, as its sides have reported.
func relaysOf(c *admin.CallRecord) string {
	var all []string
	for _, s := range []*admin.CallSide{&c.Caller, &c.Callee} {
		if s.Path != nil && s.Path.Server != "" {
			all = append(all, plain(s.Path.Server))
		}
	}
	return dash(strings.Join(all, " "))
}

func mosOf(s *admin.CallSide) string {
	if s.Quality == nil || s.Quality.MOS == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", s.Quality.MOS)
}

// printCalls shows whole records. There is more than one if a client has used an id
// twice.
func (p program) printCalls(calls []admin.CallRecord) error {
	for i := range calls {
		if i > 0 {
			fmt.Fprintln(p.stdout)
		}
		if err := p.printCall(&calls[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p program) printCall(c *admin.CallRecord) error {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(p.stdout, "%-10s"+format+"\n", append([]any{name}, args...)...)
	}
	line("call", "%s", plain(c.Call))
	line("began", "%s", moment(c.Created))
	line("ended", "%s: %s, by the %s", moment(c.Ended), plain(c.Reason), cmp.Or(plain(c.EndedBy), "server"))
	line("media", "%s", plain(strings.Join(c.Media, ", ")))
	line("region", "%s", dash(c.Region))
	line("rang", "%s", after(c.RingingMS))
	line("answered", "%s", after(c.AnsweredMS))
	line("connected", "%s", after(c.ConnectedMS))
	line("talked", "%s", talked(c))
	line("path", "%s", c.Path)
	if c.RelayRestart {
		line("restarted", "media was begun anew with relays alone")
	}
	if c.Moves > 0 {
		line("moved", "away from relays that were drained or died: %d", c.Moves)
	}
	if c.KeptFrom != "" {
		line("kept from", "%s, who blocks the caller and was told nothing; the caller does not know", c.KeptFrom)
	}
	fmt.Fprintln(p.stdout)
	t := p.table("SIDE", "ACCOUNT", "DEVICE", "LOCAL", "REMOTE", "PROTOCOL", "RELAY", "FIRST MEDIA", "RECEIVED", "LOSS", "JITTER", "ROUND TRIP", "MOS")
	t.callSide("caller", &c.Caller)
	t.callSide("callee", &c.Callee)
	return t.Flush()
}

func (t table) callSide(name string, s *admin.CallSide) {
	device, local, remote, protocol, relay := "-", "-", "-", "-", "-"
	if s.Device != 0 {
		device = fmt.Sprint(s.Device)
	}
	if k := s.Path; k != nil {
		local, remote, protocol = dash(k.Local), dash(k.Remote), dash(k.Protocol)
		relay = dash(strings.TrimSpace(k.Relay + " " + k.Server))
	}
	received, loss, jitter, trip := "-", "-", "-", "-"
	if q := s.Quality; q != nil {
		received, loss = fmt.Sprint(q.Received), fmt.Sprintf("%.1f %%", 100*q.Loss)
		jitter, trip = fmt.Sprint(q.JitterMS, " ms"), fmt.Sprint(q.RTTMS, " ms")
	}
	t.row(name, dash(string(s.Account)), device, local, remote, protocol, relay, after(s.FirstMediaMS), received, loss, jitter, trip, mosOf(s))
}

// after is a time in milliseconds, for people.
func after(ms *int64) string {
	if ms == nil {
		return "-"
	}
	return "after " + (time.Duration(*ms) * time.Millisecond).String()
}
