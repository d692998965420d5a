package verdict

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

// good is a call as it should be, for what is expected in it.
func good() (scenario.Case, report.Call) {
	side := report.Side{Local: "host", Remote: "srflx", Received: 100, Sent: 100, End: "hangup"}
	return scenario.Case{Reason: "because", Expect: scenario.Expect{Path: "direct", After: "direct", ConnectWithin: 5 * time.Second, Gap: time.Second, Lost: 0.02}},
		report.Call{Path: "direct", Connect: time.Second, Gap: time.Second / 2, Sides: [2]report.Side{side, side}}
}

func TestJudge(t *testing.T) {
	event := []scenario.Event{{Reboot: "nat-a"}}
	tests := []struct {
		name string
		set  func(*scenario.Case, *report.Call)
		want []string
	}{
		{"as it should be", func(*scenario.Case, *report.Call) {}, nil},
		{"skipped", func(_ *scenario.Case, r *report.Call) { r.Path, r.Skipped = "", "no root" }, nil},
		{"broken", func(_ *scenario.Case, r *report.Call) { r.Path, r.Broken = "", "no disk" }, nil},
		{"no connection", func(_ *scenario.Case, r *report.Call) { r.Path, r.Sides = "", [2]report.Side{} }, []string{"the call did not connect, expected direct"}},
		{"a fault", func(_ *scenario.Case, r *report.Call) { r.Faults = []string{"a relay is open"} }, []string{"a relay is open"}},
		{"worse", func(_ *scenario.Case, r *report.Call) { r.Path = "relay/tcp" }, []string{"the path is relay/tcp, expected direct, which is better"}},
		{"better than can be", func(_ *scenario.Case, r *report.Call) { r.Path = "host" }, []string{"the path is host, expected direct: better than can be"}},
		{"none is expected", func(c *scenario.Case, r *report.Call) { c.Expect.Path, r.Path = "none", "" }, nil},
		{"none is expected, and there is", func(c *scenario.Case, _ *report.Call) { c.Expect.Path = "none" }, []string{"the call connected by direct, expected that it cannot"}},
		{"any", func(c *scenario.Case, r *report.Call) { c.Expect.Path, r.Path = "any", "relay/tls" }, nil},
		{"any but none", func(c *scenario.Case, r *report.Call) { c.Expect.Path, r.Path = "any", "none" }, []string{"the call did not connect, expected any"}},
		{"slow", func(_ *scenario.Case, r *report.Call) { r.Connect = 6 * time.Second }, []string{"first media on both sides 6s after the answer, expected within 5s"}},
		{"gap", func(_ *scenario.Case, r *report.Call) { r.Gap = 1500 * time.Millisecond }, []string{"a gap of 1.5s without media, expected at most 1s"}},
		{"loss", func(_ *scenario.Case, r *report.Call) { r.Sides[1].Lost = 5 }, []string{"4.8 % of the packets to the callee were lost, expected at most 2.0 %"}},
		{"loss in events is not judged", func(c *scenario.Case, r *report.Call) { c.Events, r.After, r.Sides[1].Lost = event, "direct", 5 }, nil},
		{"after without events is not judged", func(_ *scenario.Case, r *report.Call) { r.After = "relay/udp" }, nil},
		{"other path at the end", func(c *scenario.Case, r *report.Call) { c.Events, r.After = event, "relay/udp" }, []string{"the path at the end is relay/udp, expected direct"}},
		{"none at the end", func(c *scenario.Case, r *report.Call) { c.Events, r.After = event, "none" }, []string{"there was no path at the end, expected direct"}},
		{"any at the end", func(c *scenario.Case, r *report.Call) { c.Events, c.Expect.After, r.After = event, "any", "relay/udp" }, nil},
		{"silence", func(_ *scenario.Case, r *report.Call) { r.Sides[0].Received = 0 }, []string{"no media came to the caller"}},
		{"no picture", func(_ *scenario.Case, r *report.Call) { r.Client, r.Sides[0].Frames = "chromium", 5 }, []string{"the callee decoded no frame of video"}},
		{"other end", func(_ *scenario.Case, r *report.Call) { r.Sides[0].End, r.Sides[1].End = "media_failed", "" }, []string{"the call of the caller was ended by media_failed, expected hangup"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, call := good()
			test.set(&c, &call)
			call.Failures = []string{"of before"}
			Judge(c, &call)
			if diff := cmp.Diff(test.want, call.Failures); diff != "" {
				t.Error(diff)
			}
			if call.Expected != string(c.Expect.Path) && c.Expect.After == c.Expect.Path || call.Reason != "because" {
				t.Errorf("expected %q because %q", call.Expected, call.Reason)
			}
		})
	}
}

func TestExpectedNamesBothPaths(t *testing.T) {
	c, call := good()
	c.Expect.After = "relay/udp"
	if Judge(c, &call); call.Expected != "direct → relay/udp" {
		t.Errorf("got %q", call.Expected)
	}
}
