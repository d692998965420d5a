// Package judge says what path a call took, and whether all was as expected of it. It
// is the same for both engines.
package judge

import (
	"fmt"
	"slices"
	"time"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/signaling/protocol"
)

// PathOf returns how media went between two sides, by what they say of their selected
// pairs.
func PathOf(a, b report.Side) scenario.Path {
	if a.Local == "" || b.Local == "" || a.Received == 0 || b.Received == 0 {
		return scenario.None
	}
	if reaches(a, b, "host") && reaches(b, a, "host") {
		return scenario.Host
	}
	worst := scenario.Direct
	for _, s := range []struct{ own, other report.Side }{{a, b}, {b, a}} {
		if s.own.Local == "relay" {
			worst = worse(worst, scenario.Path("relay/"+s.own.Relay))
		}
		if reaches(s.own, s.other, "relay") {
			worst = worse(worst, scenario.RelayUDP) // at least; the other says how it reaches it
		}
	}
	return worst
}

// reaches reports whether own sends to a candidate of other that is of a kind: what ICE
// found by itself (prflx) may be one that it was not yet told of.
func reaches(own, other report.Side, kind string) bool {
	if own.Remote == kind {
		return true
	}
	return slices.ContainsFunc(other.Candidates, func(c report.Candidate) bool {
		return c.Type == kind && c.Address == own.RemoteAddress
	})
}

// order is that of paths, the best first.
var order = []scenario.Path{scenario.Host, scenario.Direct, scenario.RelayUDP, scenario.RelayTCP, scenario.RelayTLS, scenario.None}

func worse(a, b scenario.Path) scenario.Path {
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// Worse reports whether path a is worse than b.
func Worse(a, b scenario.Path) bool { return a != b && worse(a, b) == a }

// Judge writes into the call what was not as the case expects. Path and After must be set,
// and all that the sides tell.
func Judge(c scenario.Case, call *report.Call) {
	fail := func(format string, args ...any) { call.Failures = append(call.Failures, fmt.Sprintf(format, args...)) }
	e := c.Expect
	if got, want := scenario.Path(call.Path), scenario.Path(e.Path); got != want {
		switch {
		case got == scenario.None:
			fail("the call has no media; %s was expected", want)
		case Worse(got, want):
			fail("the path is %s, and %s was expected", got, want)
		default:
			fail("the path is %s, better than %s: a NAT is not what it is taken for, or the expectation is wrong", got, want)
		}
	}
	if scenario.Path(e.Path) == scenario.None {
		return
	}
	if call.Path == string(scenario.None) {
		return // the rest says nothing more
	}
	if after := scenario.Path(e.After); after != "" && after != scenario.Path(call.After) {
		fail("the path at the end is %s, and %s was expected", call.After, after)
	}
	if e.ConnectWithin > 0 && call.Connect > e.ConnectWithin {
		fail("media on both sides took %v from the answer; at most %v was expected", round(call.Connect), e.ConnectWithin)
	}
	if e.Gap > 0 && call.Gap > e.Gap {
		fail("there was no media for %v; at most %v was expected", round(call.Gap), e.Gap)
	}
	for _, s := range call.Sides {
		if s.End != string(protocol.ReasonHangup) {
			fail("the call ended at %s by %q, not by hanging up", s.Host, s.End)
		}
		if all := s.Received + s.Lost; len(c.Events) == 0 && all > 0 && float64(s.Lost) > e.Lost*float64(all) {
			fail("%s lost %d of %d packets; at most %.1f %% was expected", s.Host, s.Lost, all, 100*e.Lost)
		}
	}
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
