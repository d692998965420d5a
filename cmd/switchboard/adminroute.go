package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"switchboard/directory"
	"switchboard/signaling/admin"
	"switchboard/signaling/region"
)

func (p program) adminRoute(ctx context.Context, args []string) error {
	f := p.adminFlags("route")
	where := f.String("region", "", "the `country` whose national form the numbers have")
	device := f.Uint("device", 0, "the caller's `device`; without it, the first that is connected")
	call := f.String("call", "", "the `id` of the call; without it, one at random")
	found, err := f.parse(args, "NUMBER", "NUMBER")
	if err != nil {
		return err
	}
	if err := p.numbersFromStdin(found); err != nil {
		return err
	}
	c, err := f.client(p)
	if err != nil {
		return err
	}
	r, err := ask(ctx, f, c, func(ctx context.Context, c *admin.Client) (admin.Route, error) {
		return c.Route(ctx, admin.RouteQuery{
			Caller: found[0], Callee: found[1], Region: strings.ToUpper(*where), Device: directory.Device(*device), Call: *call,
		})
	})
	if err != nil || *f.json {
		return p.orJSON(r, err)
	}
	return p.printRoute(r)
}

// numbersFromStdin puts lines of standard input in the place of every -.
func (p program) numbersFromStdin(numbers []string) error {
	if !slices.Contains(numbers, "-") {
		return nil
	}
	lines := bufio.NewScanner(io.LimitReader(p.stdin, 512))
	for i, n := range numbers {
		if n != "-" {
			continue
		}
		if !lines.Scan() || strings.TrimSpace(lines.Text()) == "" {
			return errors.New("not as many numbers on standard input as there are -")
		}
		numbers[i] = strings.TrimSpace(lines.Text())
	}
	return nil
}

// rules says in words by what a region was decided.
var rules = map[string]string{
	string(region.ByRoundTrip): "the round trips that it has measured", string(region.ByAddress): "the country of its address",
	string(region.ByNumber): "the country of its number", string(region.ByDefault): "regions.default",
	string(region.ByPlace): "the node's own region: nothing else is known", "": "nothing: its node did not tell",
}

func (p program) printRoute(r admin.Route) error {
	why := "by " + rules[r.Rule]
	if r.Device != 0 {
		why += fmt.Sprintf(", of the caller's device %d", r.Device)
	}
	fmt.Fprintf(p.stdout, "region  %s, %s\n", cmp.Or(r.Region, "not known: that of the node that was asked counts"), why)
	fmt.Fprintln(p.stdout, "        of relays alike, each call has its own first; worked out for the id", r.Call)
	p.printRouteSide("caller", r.Caller)
	p.printRouteSide("callee", r.Callee)
	fmt.Fprintln(p.stdout, "        both sides get the same relays, by the caller's region")
	if r.Blocked {
		fmt.Fprintln(p.stdout, "        the callee blocks the caller: the call is kept from the callee")
	}
	fmt.Fprintln(p.stdout)
	if len(r.Relays) == 0 {
		fmt.Fprintln(p.stdout, "no relay is known")
	} else {
		t := p.table("RELAY", "REGION", "ZONE", "RANK", "ALLOCATIONS", "FIRST FOR", "GIVEN", "WHY")
		for _, l := range r.Relays {
			t.row(l.Name, dash(l.Region), dash(l.Zone), l.Rank, ofMost(l.Allocations, l.Max), fmt.Sprintf("%.0f %%", 100*l.Share), given(l), whyRelay(l, r.Region))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for _, u := range r.Configured {
		fmt.Fprintf(p.stdout, "always  %s, by ice.turn_urls\n", plain(u))
	}
	return nil
}

func ofMost(n, most int) string {
	if most == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d of %d", n, most)
}

// policies says in words which candidates a side uses.
var policies = map[string]string{
	"all":         "uses any path",
	"relay":       "uses relays alone: its settings hide its addresses",
	"relay_first": "uses relays alone until the call is answered: the two do not both know each other",
}

func (p program) printRouteSide(name string, s admin.RouteSide) {
	who := "nobody has this number"
	if s.Account != "" {
		who = "account " + string(s.Account)
	}
	country := ""
	if s.Country != "" {
		country = " (" + s.Country + ")"
	}
	fmt.Fprintf(p.stdout, "%s  %s%s, %s\n", name, s.Number, country, who)
	for _, d := range s.Devices {
		fmt.Fprintf(p.stdout, "        device %d, %s at %s: %s, by %s\n", d.Device, d.State, d.Node, cmp.Or(d.Region, "not known"), rules[d.Rule])
		fmt.Fprintf(p.stdout, "          measured %s; its address is in %s\n", tripsInWords(d.RoundTrips), cmp.Or(d.Country, "no country that is known"))
	}
	if len(s.Devices) == 0 {
		fmt.Fprintf(p.stdout, "        not connected, so that its round trips and its address are not known: %s, by %s\n", s.Absent.Region, rules[s.Absent.Rule])
	}
	if text := policies[s.Policy]; text != "" {
		fmt.Fprintln(p.stdout, "       ", text)
	}
}

func tripsInWords(trips map[string]int) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(trips)) {
		all = append(all, fmt.Sprintf("%s %d ms", plain(name), trips[name]))
	}
	return cmp.Or(strings.Join(all, ", "), "nothing")
}

func given(l admin.RouteRelay) string {
	switch region.Verdict(l.Verdict) {
	case region.First:
		return "first"
	case region.Second, region.SecondAnyZone:
		return "second"
	}
	return "-"
}

// whyRelay says why a call is given a relay, or not.
func whyRelay(l admin.RouteRelay, of string) string {
	rank := map[string]string{
		region.RankNear.String(): "of the call's region", region.RankFar.String(): "of another region than " + cmp.Or(of, "the node's"),
		region.RankBusy.String(): "80 % full or more",
	}[l.Rank]
	switch region.Verdict(l.Verdict) {
	case region.First:
		return rank + "; first of those in order"
	case region.Second:
		return rank + "; the next that does not fail together with the first"
	case region.SecondAnyZone:
		return rank + "; the next, as there is none of another zone"
	case region.SameZone:
		return rank + "; passed over: of the first one's zone"
	case region.Excluded:
		return map[string]string{"draining": "taken out of service", "gone": "died or stopped"}[l.Rank]
	}
	return rank + "; others come before it"
}
