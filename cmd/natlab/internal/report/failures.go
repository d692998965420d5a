package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// failures tells of each case that is not as expected: what was, why that, what happened, and
// how to see it again.
func (t *textWriter) failures(groups []group) {
	told, more := 0, 0
	for _, g := range groups {
		for _, c := range g.cells {
			if o := c.outcome(); o != Failed && o != Broken {
				continue
			}
			if told == maxFailures {
				more++
				continue
			}
			told++
			t.failure(c)
		}
	}
	if more > 0 {
		t.say("%s\n", Plural(more, "more case is not told in full", "more cases are not told in full; --json and --html have them"))
	}
}

func (t *textWriter) failure(c cell) {
	x := c.shown()
	t.say("%s %s", t.paint(c.outcome().color(), c.outcome().mark()), t.paint(bold, x.Name()))
	for _, f := range x.Failures {
		t.say("%s", hang(f, "    ", t.width()))
	}
	if x.Broken != "" {
		t.say("%s", hang("the lab did not work: "+x.Broken, "    ", t.width()))
	}
	if x.Reason != "" && len(x.Failures) > 0 {
		t.say("%s", hang("why "+x.Expected+" is expected: "+x.Reason, "    ", t.width()))
	}
	if x.Broken == "" {
		for i, s := range x.Sides {
			t.side([2]string{"caller", "callee"}[i], s)
		}
		for _, r := range x.Relays {
			t.say("%s", hang(r.String(), "    ", t.width()))
		}
	}
	t.moments(x)
	if len(c.calls) > 1 {
		t.say("    %d of %d calls as expected; not so with %s", c.passed(), len(c.calls), seedsOf(c))
	}
	if x.Rerun != "" {
		t.say("    alone: %s", t.paint(bold, x.Rerun))
	}
	if len(x.Kept) > 0 {
		t.say("    kept: %s", strings.Join(x.Kept, ", "))
	}
	t.logs(x)
	t.say("")
}

func seedsOf(c cell) string {
	const most = 10
	var seeds []string
	more := 0
	for _, x := range c.calls {
		switch {
		case x.Outcome() == Passed:
		case len(seeds) == most:
			more++
		default:
			seeds = append(seeds, fmt.Sprint(x.Seed))
		}
	}
	text := "seed " + strings.Join(seeds, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// side tells one side's view in sentences.
func (t *textWriter) side(who string, s Side) {
	t.say("%s", hang(fmt.Sprintf("%s %s: %s", who, s.Host, sideText(s)), "    ", t.width()))
	if len(s.Candidates) > 0 {
		var list []string
		for _, c := range s.Candidates {
			list = append(list, c.String())
		}
		t.say("%s", t.paint(faint, hang("candidates: "+strings.Join(list, ", "), "      ", t.width())))
	}
}

// String is the candidate's kind and address, and how it came by it.
func (c Candidate) String() string {
	text := c.Type + " " + c.Address
	if c.Relay != "" {
		text += " by " + c.Relay
	}
	if c.Protocol != "" && c.Protocol != "udp" {
		text += " (" + c.Protocol + ")"
	}
	return text
}

func sideText(s Side) string {
	var parts []string
	if s.Local == "" {
		parts = append(parts, "no pair of candidates worked")
	} else {
		parts = append(parts, pairText(s)+" after "+seconds(s.Connected))
	}
	parts = append(parts, fmt.Sprintf("%d of %s tried", s.Tried, Plural(s.Pairs, "pair", "pairs")))
	switch {
	case s.Received == 0:
		parts = append(parts, "no media came")
	default:
		parts = append(parts, fmt.Sprintf("media after %s, %d packets received, %d sent, %d lost, longest gap %s", seconds(s.FirstMedia), s.Received, s.Sent, s.Lost, seconds(s.Gap)))
	}
	if s.Frames > 0 {
		parts = append(parts, fmt.Sprintf("%d frames of video decoded", s.Frames))
	}
	if s.Restarts > 0 {
		parts = append(parts, Plural(s.Restarts, "ICE restart", "ICE restarts"))
	}
	if s.End != "" {
		parts = append(parts, "ended by "+s.End)
	}
	return strings.Join(parts, "; ")
}

// pairText is the selected pair.
func pairText(s Side) string {
	local, remote := s.Local, s.Remote
	if s.Relay != "" && s.Local == "relay" {
		local += " (by " + s.Relay + ")"
	}
	if s.LocalAddress != "" {
		local += " " + s.LocalAddress
	}
	if s.RemoteAddress != "" {
		remote += " " + s.RemoteAddress
	}
	return local + " to " + remote
}

// maxMoments is how many are told on a terminal.
const maxMoments = 40

// moments tells them, but for how candidates were found, which are listed above.
func (t *textWriter) moments(c Call) {
	list := slices.DeleteFunc(slices.Clone(c.Events), func(m Moment) bool { return strings.HasPrefix(m.What, found) })
	for i, m := range list {
		if i == maxMoments {
			t.say("      and %d more moments", len(list)-i)
			return
		}
		t.say("    %s  %s %s", t.paint(faint, fmt.Sprintf("%9s", clock(m.At))), m.Who, m.What)
	}
}

// maxLogLines is how many of each log are told on a terminal, the last ones.
const maxLogLines = 8

// logs are what processes wrote last.
func (t *textWriter) logs(c Call) {
	for _, l := range c.Logs {
		lines := strings.Split(strings.TrimRight(l.Tail, "\n"), "\n")
		t.say("    last words of %s:", l.Name)
		for _, line := range lines[max(0, len(lines)-maxLogLines):] {
			t.say("      %s", t.paint(faint, line))
		}
	}
}

// clock is a moment as seconds from the invite.
func clock(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
