package judge

import (
	"strings"
	"testing"
	"time"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

// side has a selected pair between its own candidate and one of the other side's.
func side(local, relay, remote string) report.Side {
	return report.Side{Host: "phone", Local: local, Relay: relay, Remote: remote, Sent: 100, Received: 100, End: "hangup"}
}

func TestPathOf(t *testing.T) {
	unknown := func(s report.Side, address string) report.Side {
		s.Remote, s.RemoteAddress = "prflx", address
		return s
	}
	has := func(s report.Side, kind, address string) report.Side {
		s.Candidates = append(s.Candidates, report.Candidate{Type: kind, Address: address})
		return s
	}
	deaf := side("host", "", "host")
	deaf.Received = 0
	for _, test := range []struct {
		name string
		a, b report.Side
		want scenario.Path
	}{
		{"host", side("host", "", "host"), side("host", "", "host"), scenario.Host},
		{"host, before its candidate was told", unknown(side("host", "", ""), "10.0.0.1:5"), has(side("host", "", "host"), "host", "10.0.0.1:5"), scenario.Host},
		{"one side behind a NAT", side("host", "", "srflx"), side("host", "", "host"), scenario.Direct},
		{"both behind NATs", side("host", "", "srflx"), side("srflx", "", "prflx"), scenario.Direct},
		{"one relay", side("relay", "udp", "prflx"), side("host", "", "relay"), scenario.RelayUDP},
		{"its candidate not told", side("relay", "tls", "prflx"), unknown(side("host", "", ""), "1.2.3.4:5"), scenario.RelayTLS},
		{"prflx that is a relay's", has(side("prflx", "", "prflx"), "relay", "1.2.3.4:5"), unknown(side("host", "", ""), "1.2.3.4:5"), scenario.RelayUDP},
		{"two relays", side("relay", "udp", "relay"), side("relay", "tcp", "relay"), scenario.RelayTCP},
		{"no media one way", side("host", "", "host"), deaf, scenario.None},
		{"nothing", report.Side{}, report.Side{}, scenario.None},
	} {
		if got := PathOf(test.a, test.b); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if got := PathOf(test.b, test.a); got != test.want {
			t.Errorf("%s, the other way: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestJudge(t *testing.T) {
	expect := scenario.Expect{Path: "direct", ConnectWithin: time.Second, Gap: time.Second, Lost: 0.1}
	for _, test := range []struct {
		name   string
		expect func(*scenario.Case)
		change func(*report.Call)
		want   string // in the only failure; "" for none
	}{
		{"as expected", nil, nil, ""},
		{"worse", nil, func(c *report.Call) { c.Path = "relay/udp" }, "relay/udp, and direct was expected"},
		{"better", nil, func(c *report.Call) { c.Path = "host" }, "better than direct"},
		{"none", nil, func(c *report.Call) { c.Path = "none"; c.Connect = time.Hour }, "no media"},
		{"none, as expected", func(c *scenario.Case) { c.Expect.Path = "none" }, func(c *report.Call) { c.Path = "none"; c.Sides[0].End = "ice_failed" }, ""},
		{"slow", nil, func(c *report.Call) { c.Connect = 2 * time.Second }, "took 2s"},
		{"gap", nil, func(c *report.Call) { c.Gap = 2 * time.Second }, "no media for 2s"},
		{"lost", nil, func(c *report.Call) { c.Sides[1].Lost = 20 }, "lost 20 of 120"},
		{"lost in events", func(c *scenario.Case) { c.Events = make([]scenario.Event, 1) }, func(c *report.Call) { c.Sides[1].Lost = 20 }, ""},
		{"end", nil, func(c *report.Call) { c.Sides[0].End = "connection_lost" }, `by "connection_lost"`},
		{"after", func(c *scenario.Case) { c.Expect.After = "relay/udp" }, func(c *report.Call) { c.After = "direct" }, "at the end is direct"},
	} {
		c := scenario.Case{Expect: expect}
		if test.expect != nil {
			test.expect(&c)
		}
		call := report.Call{Path: "direct", Connect: time.Second / 2, Sides: [2]report.Side{side("host", "", "srflx"), side("host", "", "srflx")}}
		if test.change != nil {
			test.change(&call)
		}
		Judge(c, &call)
		switch got := strings.Join(call.Failures, "; "); {
		case test.want == "" && got != "", test.want != "" && (len(call.Failures) != 1 || !strings.Contains(got, test.want)):
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
