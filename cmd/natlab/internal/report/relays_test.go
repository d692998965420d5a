package report_test

import (
	"bytes"
	"strings"
	"testing"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/cmd/natlab/internal/verdict"
)

// relayed is a report of calls on a real stack, whose relays were to relay in the kernel. One
// did not.
func relayed(t *testing.T) *report.Report {
	t.Helper()
	r := sample(t, 1, "smoke", "relay-killed", "browsers")
	for i := range r.Calls {
		c := &r.Calls[i]
		c.Engine = "kernel"
		if !strings.HasPrefix(c.Path, "relay/") {
			continue
		}
		x := report.Relay{Name: "relay", DataPath: "ebpf", Up: report.Relayed{Packets: 1000}, Down: report.Relayed{Packets: 500}}
		if c.Path == "relay/udp" {
			x.KernelsWork, x.Up.ByKernel, x.Down.ByKernel = true, 950, 490
		}
		c.Relays = []report.Relay{x}
		if c.Scenario == "relay-killed" {
			c.Relays[0].Down.ByKernel, c.Relays[0].Left = 0, map[string]uint64{"unsummed": 480}
			expect := scenario.Case{Relays: map[string]scenario.Relay{"relay": {DataPath: "ebpf"}}, Events: []scenario.Event{{Kill: "relay"}}}
			expect.Expect = scenario.Expect{Path: "any", After: "any", ConnectWithin: 1 << 40, Gap: 1 << 40}
			verdict.Judge(expect, c)
		}
	}
	r.Engine, r.DataPath = "kernel", "ebpf"
	r.Count()
	return r
}

// TestRelayed says of each relayed call by whom its packets were relayed, in all forms.
func TestRelayed(t *testing.T) {
	r := relayed(t)
	var text, page, junit bytes.Buffer
	if err := r.WriteText(&text, report.Style{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "relayed.txt", text.Bytes())
	if err := r.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJUnit(&junit); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"relayed by kernel 96 %", "relayed by process", "950 (95.0 %)", "480 packets left as unsummed"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if want := "relay relay: data path ebpf; by the kernel 950 of 1000 packets to peers, 490 of 500 to clients"; !strings.Contains(junit.String(), want) {
		t.Errorf("JUnit does not have %q", want)
	}
}

// TestRelayedMatrix has a letter in the cells that the kernel relayed.
func TestRelayedMatrix(t *testing.T) {
	r := sample(t, 1, "classic")
	for i := range r.Calls {
		switch c := &r.Calls[i]; c.Path {
		case "relay/udp":
			c.Relays = []report.Relay{{Name: "relay", Up: report.Relayed{Packets: 10, ByKernel: 8}, Down: report.Relayed{Packets: 10, ByKernel: 4}}}
		case "direct": // a few checks
			c.Relays = []report.Relay{{Name: "relay", Up: report.Relayed{Packets: 3, ByKernel: 3}}}
		case "relay/tcp":
			c.Relays = []report.Relay{{Name: "relay", Up: report.Relayed{Packets: 10, ByKernel: 2}}}
		}
	}
	var b bytes.Buffer
	if err := r.WriteText(&b, report.Style{}); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); !strings.Contains(text, "udp k") || strings.Contains(text, "tcp k") || strings.Contains(text, "direct k") || !strings.Contains(text, "k: by its kernel") {
		t.Error(text)
	}
}
