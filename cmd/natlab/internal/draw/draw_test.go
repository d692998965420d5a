package draw

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/relay/natlab"
)

var update = flag.Bool("update", false, "write testdata anew")

// TestScenarios draws some of ours that have something of everything.
func TestScenarios(t *testing.T) {
	list, err := scenario.Load("../../../../configs/natlab", "same-carrier", "wifi-to-mobile", "no-relay-symmetric", "relay-killed", "delay-jitter", "broken-ipv6")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		c := s.Cases()[0]
		var b bytes.Buffer
		if err := Networks(&b, c); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n")
		if err := Events(&b, c); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", s.Name+".txt")
		if *update {
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), b.String()); diff != "" {
			t.Errorf("%s: -update writes it anew:\n%s", path, diff)
		}
	}
}

func TestDataPathOfARelay(t *testing.T) {
	list, err := scenario.Load("../../../../configs/natlab", "relay-killed")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Networks(&b, list[0].Cases()[0].WithDataPath("ebpf")); err != nil {
		t.Fatal(err)
	}
	if want := "a relay, region lab, data path ebpf\n"; strings.Count(b.String(), want) != 2 {
		t.Errorf("not twice %q in\n%s", want, b.String())
	}
}

func TestLink(t *testing.T) {
	l := natlab.Link{Delay: 30 * time.Millisecond, Jitter: time.Millisecond, Reorder: 0.1, Loss: 0.05, Burst: 8, Rate: 256_000, Queue: 300 * time.Millisecond}
	if got, want := Link(l), "delay 30ms, jitter 1ms, 10 % reordered, 5 % lost in runs of 8, 256 kbit/s, queue 300ms"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Link(natlab.Link{}); got != "" {
		t.Errorf("nothing is %q", got)
	}
}

func TestRouter(t *testing.T) {
	for want, r := range map[string]natlab.RouterSpec{
		"routes IPv4": {}, "drops UDP, and TCP but to [443 80]": {Firewall: natlab.Firewall{BlockUDP: true, TCPPorts: []uint16{443, 80}}},
		"drops TCP but to [443]": {Firewall: natlab.Firewall{TCPPorts: []uint16{443}}}, "drops UDP": {Firewall: natlab.Firewall{BlockUDP: true}},
		"     ports preserve, of 1 to 2, hairpinning, mappings live 30s": {NAT: &natlab.NAT{PortRange: natlab.PortRange{Min: 1, Max: 2}, Hairpin: true, Timeout: 30 * time.Second}},
	} {
		if got := Router(r); got[len(got)-1] != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
