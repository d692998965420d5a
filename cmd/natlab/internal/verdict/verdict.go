// Package verdict says what of a call was not as its case expects.
package verdict

import (
	"fmt"
	"time"

	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/cmd/natlab/internal/theory"
	"switchboard/signaling/protocol"
)

// Judge fills in what was expected of a call, why, and what was not so. What was skipped, or
// broken by the lab, is not judged.
func Judge(c scenario.Case, call *report.Call) {
	call.Expected, call.Reason = expected(c.Expect), c.Reason
	call.Failures = nil
	if call.Skipped != "" || call.Broken != "" {
		return
	}
	if call.Path == "" {
		call.Path = string(scenario.None)
	}
	call.Failures = append(call.Failures, call.Faults...)
	j := judge{c.Expect, call}
	if j.path(); call.Path == string(scenario.None) {
		return // the rest follows from that
	}
	j.after(len(c.Events) > 0)
	j.times()
	j.sides(len(c.Events) > 0)
	j.relays(c.Relays)
}

// expected is the path, and the one at the end if it is another.
func expected(e scenario.Expect) string {
	if e.After == "" || e.After == e.Path {
		return string(e.Path)
	}
	return string(e.Path) + " → " + string(e.After)
}

type judge struct {
	want scenario.Expect
	call *report.Call
}

func (j *judge) bad(format string, args ...any) {
	j.call.Failures = append(j.call.Failures, fmt.Sprintf(format, args...))
}

func (j *judge) path() {
	got, want := theory.Path(j.call.Path), j.want.Path
	switch {
	case got == want, want == scenario.Any && got != scenario.None:
	case got == scenario.None:
		j.bad("the call did not connect, expected %s", want)
	case want == scenario.None:
		j.bad("the call connected by %s, expected that it cannot", got)
	case got.Worse(want):
		j.bad("the path is %s, expected %s, which is better", got, want)
	default:
		j.bad("the path is %s, expected %s: better than can be", got, want)
	}
}

// after is the path at the end, where events could change it.
func (j *judge) after(events bool) {
	got, want := theory.Path(j.call.After), j.want.After
	if !events || got == want || want == scenario.Any && got != scenario.None {
		return
	}
	switch got {
	case "", scenario.None:
		j.bad("there was no path at the end, expected %s", want)
	default:
		j.bad("the path at the end is %s, expected %s", got, want)
	}
}

func (j *judge) times() {
	if j.call.Connect > j.want.ConnectWithin {
		j.bad("first media on both sides %s after the answer, expected within %s", round(j.call.Connect), j.want.ConnectWithin)
	}
	if j.call.Gap > j.want.Gap {
		j.bad("a gap of %s without media, expected at most %s", round(j.call.Gap), j.want.Gap)
	}
}

func (j *judge) sides(events bool) {
	for i, s := range j.call.Sides {
		who := [2]string{"the caller", "the callee"}[i]
		switch {
		case s.Received == 0:
			j.bad("no media came to %s", who)
		case !events && s.LostShare() > j.want.Lost:
			j.bad("%.1f %% of the packets to %s were lost, expected at most %.1f %%", 100*s.LostShare(), who, 100*j.want.Lost)
		}
		if j.call.Client == engine.Chromium && s.Received > 0 && s.Frames == 0 {
			j.bad("%s decoded no frame of video", who)
		}
		if s.End != "" && s.End != string(protocol.ReasonHangup) {
			j.bad("the call of %s was ended by %s, expected %s", who, s.End, protocol.ReasonHangup)
		}
	}
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
