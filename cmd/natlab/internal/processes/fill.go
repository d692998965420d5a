package processes

import (
	"context"
	"slices"
	"strings"
	"time"

	"switchboard/cmd/natlab/internal/judge"
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
	c.Path = string(judge.PathOf(views[0].began, views[1].began))
	c.After = string(judge.PathOf(views[0].end, views[1].end))
	p.mu.Lock()
	all := slices.Concat(p.moments, views[0].moments, views[1].moments)
	p.mu.Unlock()
	c.Events = counted(all, invitedAt(views[0].moments, p.invited))
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

// invitedAt is when the caller's invite was taken, or else when the caller was started.
func invitedAt(caller []moment, started time.Time) time.Time {
	for _, m := range caller {
		if strings.HasPrefix(m.what, "invited") || strings.HasPrefix(m.what, "calling") {
			return m.at
		}
	}
	return started
}
