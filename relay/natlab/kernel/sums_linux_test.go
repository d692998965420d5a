package kernel_test

import (
	"path/filepath"
	"regexp"
	"testing"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/kernel"
)

// received are the checksums of what a capture has of what came in to a host.
var received = regexp.MustCompile(`(?m)\bIn  .*\n.*\[(udp sum ok|bad udp cksum [^]]*)\]`)

// TestChecksumsAreFinished has packets look as they do on a wire, also from machines that are
// not behind a router, and on cables that are plugged in later.
func TestChecksumsAreFinished(t *testing.T) {
	t.Parallel()
	top := behind(natlab.RouterSpec{NAT: &natlab.PortRestricted})
	top.Hosts["alice"] = natlab.HostSpec{Networks: []string{"home", "office"}}
	top.Hosts["carol"] = natlab.HostSpec{Networks: []string{natlab.Internet, "office"}}
	l := build(t, top, kernel.Options{})
	look := func(what string, from, to string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "packets.pcap")
		stop, err := l.Capture(t.Context(), to, file)
		if err != nil {
			t.Fatal(err)
		}
		c, d := packets(t, l, from, ":5000"), packets(t, l, to, ":6000")
		passes(t, c, d, at(l, to, 6000), what)
		c.Close()
		d.Close()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		out := tells(t, l, to, "tcpdump", "-nvvr", file, "udp")
		if got := received.FindStringSubmatch(out); got == nil || got[1] != "udp sum ok" {
			t.Errorf("%s: %q in\n%s", what, got, out)
		}
	}
	look("from behind a router", "alice", "server")
	look("from the internet", "carol", "server")
	for _, host := range []string{"alice", "carol"} {
		if err := l.Move(t.Context(), host, "office"); err != nil {
			t.Fatal(err)
		}
	}
	look("between those who have moved", "alice", "carol")
}
