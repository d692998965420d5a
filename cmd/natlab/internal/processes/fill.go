package processes

import (
	"context"
	"slices"
	"strings"
	"time"

	"switchboard/cmd/natlab/internal/report"
)

// fill writes both phones' views of the call, which is over, and what the lab did into the
// report.
func (p *placing) fill(ctx context.Context) error {
	var views [2]view
	for i, phone := range p.phones {
		var err error
		if views[i], err = phone.awaitView(ctx, p.firstEvent); err != nil {
			return err
		}
	}
	p.write(views)
	return p.fillRelays(ctx, views)
}

// write is fill once the views are there.
func (p *placing) write(views [2]view) {
	c := &p.call
	for i, v := range views {
		c.Sides[i] = v.end
		c.Connect = max(c.Connect, v.end.FirstMedia)
		c.Gap = max(c.Gap, v.end.Gap)
	}
	c.Path = string(report.PathOf([2]report.Side{views[0].began, views[1].began}))
	c.After = string(report.PathOf(c.Sides))
	for i, v := range views {
		if !v.gapAt.IsZero() {
			c.Sides[i].GapAt = v.gapAt.Sub(p.invitedBy(views[0].moments))
		}
	}
	p.tell(views[0].moments, views[1].moments)
}

// tell writes what has happened: at the phones, the caller first, and in the lab.
func (p *placing) tell(phones ...[]moment) {
	var caller []moment
	if len(phones) > 0 {
		caller = phones[0]
	}
	invited := p.invitedBy(caller)
	if answered := momentOf(caller, "answered"); !answered.IsZero() {
		p.call.Answered = answered.Sub(invited)
	}
	p.mu.Lock()
	all := slices.Concat(p.describe(invited), p.moments, slices.Concat(phones...), p.dropped())
	p.mu.Unlock()
	p.call.Events = counted(all, invited)
}

// invitedBy is when the caller's invite was taken, or else when the caller was started.
func (p *placing) invitedBy(caller []moment) time.Time {
	if at := momentOf(caller, "invited", "calling"); !at.IsZero() {
		return at
	}
	return p.invited
}

// counted are moments in their order, counted from one time.
func counted(all []moment, from time.Time) []report.Moment {
	slices.SortStableFunc(all, func(a, b moment) int { return a.at.Compare(b.at) })
	var out []report.Moment
	for _, m := range all {
		out = append(out, report.Moment{At: m.at.Sub(from), Who: m.who, What: m.what})
	}
	return out
}

// momentOf is when the first of some things happened, or zero. What it was may have
// details.
func momentOf(all []moment, whats ...string) time.Time {
	for _, m := range all {
		what, _, _ := strings.Cut(m.what, ":")
		if slices.Contains(whats, what) {
			return m.at
		}
	}
	return time.Time{}
}
