package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"switchboard/cmd/internal/ledger"
	"switchboard/cmd/softphone/internal/load"
)

func loadFlags(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	c := load.Default()
	codes := fs.String("codes", "", "`file` into which a development server writes its one-time codes: devices are registered with them; for each of several servers its own, with commas between")
	fs.StringVar(&c.Tokens, "tokens", "", "`file` of devices, a line each: number, a name from 0, token; what is registered is added to it")
	fs.StringVar(&c.First, "first", c.First, "`number` of the first account; the others follow")
	fs.IntVar(&c.Accounts, "accounts", c.Accounts, "how many accounts text each other")
	fs.IntVar(&c.Devices, "devices", c.Devices, "devices of each account")
	fs.Float64Var(&c.Rate, "rate", c.Rate, "texts a second, of all together")
	fs.DurationVar(&c.Duration, "duration", c.Duration, "how long texts are sent")
	fs.IntVar(&c.Size, "size", c.Size, "bytes of a text")
	fs.Float64Var(&c.Reconnect, "reconnect", 0, "`share` of the devices whose connection is cut in each second, as 0.01")
	fs.IntVar(&c.Backlog, "backlog", 0, "texts that wait for every second account's last device before it connects")
	fs.IntVar(&c.Stalled, "stalled", 0, "devices that do not read until all has been sent")
	fs.DurationVar(&c.Settle, "settle", c.Settle, "how long what was acknowledged may take to come, once all has been sent")
	fs.DurationVar(&c.Every, "every", c.Every, "how often to tell how it goes")
	usage := fs.Usage
	fs.Usage = func() { usage(); fmt.Fprint(fs.Output(), loadHelp) }
	return func(ctx context.Context, e *env, _ []string) error {
		if e.server == "" {
			return &exit{exitUsage, errors.New("load needs a server: softphone -server http://localhost:8080 load")}
		}
		c.Servers = servers(e.server)
		if *codes != "" {
			c.Codes = strings.Split(*codes, ",")
		}
		c.Note = func(text string) { e.out.say("%s", text) }
		c.Progress = func(p load.Progress) { printProgress(e.out, p) }
		if err := c.Validate(); err != nil {
			return &exit{exitUsage, err}
		}
		v, err := load.Run(ctx, c)
		if err != nil {
			return err
		}
		return printVerdict(e.out, v)
	}
}

const loadHelp = `
Each text has an id and a body of its own. At the end load proves that every text
that the server acknowledged was shown on every device of its receiver, and on
the sender's other devices, exactly once, in the order of the device's mailbox,
after whatever was acknowledged before it was sent, and as it was sent; and that
none came that nobody sent. It exits with 9 if a promise was broken. Ctrl-C ends
the sending; the verdict comes all the same. A second Ctrl-C ends at once.

-server takes several URLs, with commas between; devices take them in turn, and go
on to the next when theirs is gone.

Try it with a server of your own, whose limits are then those for loads:

  switchboard serve -config configs/load.yaml
  softphone -server http://localhost:8080 load -codes data/codes.log \
    -accounts 50 -devices 2 -rate 200 -reconnect 0.02 -backlog 500 -stalled 5

The times are from the moment at which the sending of a text began, whether or
not those before it were answered. Those of devices that were away or did not
read are left out.
`

func printProgress(o *output, p load.Progress) {
	o.event("load", "sent", p.Sent, "stored", p.Stored, "shown", p.Shown, "owed", p.Owed, "disconnects", p.Disconnects,
		"stored_p50", p.ToStored.P50, "stored_p99", p.ToStored.P99, "shown_p50", p.ToShown.P50, "shown_p99", p.ToShown.P99, "errors", sum(p.Errors))
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// errBroken ends a load in which the server broke a promise.
var errBroken = &exit{exitBroken, errors.New("a promise was broken")}

func printVerdict(o *output, v *load.Verdict) error {
	if o.json {
		pairs := []any{"ok", v.Kept(), "sent", v.Texts.Sent, "stored", v.Texts.Stored, "failed", v.Texts.Failed, "shown", v.Texts.Shown,
			"rate", v.Rate, "repeats", v.Repeats, "cut", v.Cut, "disconnects", v.Disconnects, "others", v.Others, "errors", v.Errors}
		for _, r := range ledger.Rules() {
			pairs = append(pairs, r.String(), v.Texts.Broken[r])
		}
		for _, t := range verdictTimes(v) {
			pairs = append(pairs, t.name+"_p50", t.P50, t.name+"_p99", t.P99, t.name+"_p999", t.P999, t.name+"_max", t.Max)
		}
		o.event("verdict", pairs...)
	} else {
		o.say("%s", verdictTable(v))
	}
	if !v.Kept() {
		return errBroken
	}
	if v.Texts.Stored == 0 {
		return errors.New("no text was acknowledged")
	}
	return nil
}

type namedTimes struct {
	name, what string
	load.Times
}

func verdictTimes(v *load.Verdict) []namedTimes {
	return []namedTimes{{"stored", "sent to stored", v.ToStored}, {"shown", "sent to shown", v.ToShown}, {"drained", "backlog drained", v.Drained}}
}

func verdictTable(v *load.Verdict) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nsent\t%d\n", v.Texts.Sent)
	fmt.Fprintf(w, "acknowledged\t%d\t%.0f a second\n", v.Texts.Stored, v.Rate)
	fmt.Fprintf(w, "given up\t%d\tthey may have come or not\n", v.Texts.Failed)
	fmt.Fprintf(w, "shown\t%d\ton all devices together\n", v.Texts.Shown)
	fmt.Fprintf(w, "repeats\t%d\tfrom the server; %d of them shown\n", v.Repeats, v.Texts.Broken[ledger.Repeated])
	fmt.Fprintf(w, "connections\t%d\tlost, %d of them cut here\n", v.Disconnects, v.Cut)
	if v.Others > 0 {
		fmt.Fprintf(w, "others\t%d\ttexts that were not of this run\n", v.Others)
	}
	w.Flush()
	fmt.Fprintln(w, "\n\tp50\tp99\tp99.9\tslowest\tof")
	for _, t := range verdictTimes(v) {
		if t.N > 0 {
			fmt.Fprintf(w, "%s\t%v\t%v\t%v\t%v\t%d\n", t.what, ms(t.P50), ms(t.P99), ms(t.P999), ms(t.Max), t.N)
		}
	}
	w.Flush()
	if len(v.Errors) > 0 {
		fmt.Fprintln(w, "\nerror\ttimes")
		for _, name := range slices.Sorted(maps.Keys(v.Errors)) {
			fmt.Fprintf(w, "%s\t%d\n", name, v.Errors[name])
		}
		w.Flush()
	}
	fmt.Fprintln(w, "\npromise\tbroken")
	for _, r := range ledger.Rules() {
		if r != ledger.Misused || v.Texts.Broken[r] > 0 {
			fmt.Fprintf(w, "not %s\t%d\n", r, v.Texts.Broken[r])
		}
	}
	w.Flush()
	for _, breach := range v.Texts.Breaches {
		fmt.Fprintln(&b, breach.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func ms(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
