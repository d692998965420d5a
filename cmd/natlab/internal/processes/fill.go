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
	return nil
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
	invited := momentOf(views[0].moments, "invited", "calling")
	if invited.IsZero() {
		invited = p.invited
	}
	if answered := momentOf(views[0].moments, "answered"); !answered.IsZero() {
		c.Answered = answered.Sub(invited)
	}
	for i, v := range views {
		if !v.gapAt.IsZero() {
			c.Sides[i].GapAt = v.gapAt.Sub(invited)
		}
	}
	p.mu.Lock()
	all := slices.Concat(p.moments, views[0].moments, views[1].moments)
	p.mu.Unlock()
	c.Events = counted(all, invited)
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
