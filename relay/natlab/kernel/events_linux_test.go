package kernel_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/kernel"
)

// roaming has alice at home, or on a mobile network, or in a VPN.
func roaming(n natlab.NAT) natlab.Topology {
	return natlab.Topology{
		Networks: map[string]natlab.NetworkSpec{"home": {}, "mobile": {}, "vpn": {}},
		Routers: map[string]natlab.RouterSpec{
			"box":  {Inside: "home", Outside: natlab.Internet, NAT: &n, IPv6: natlab.IPv6Routed},
			"cell": {Inside: "mobile", Outside: natlab.Internet, NAT: &natlab.Symmetric},
			"gate": {Inside: "vpn", Outside: natlab.Internet, NAT: &n},
		},
		Hosts: map[string]natlab.HostSpec{
			"alice":  {Networks: []string{"home", "mobile", "vpn"}},
			"server": {Networks: []string{natlab.Internet}},
		},
	}
}

func TestReboot(t *testing.T) {
	t.Parallel()
	for _, how := range []kernel.Routers{kernel.NFTRouters, kernel.TUNRouters} {
		for name, n := range map[string]natlab.NAT{"port": natlab.PortRestricted, "address": natlab.AddressRestricted, "full": natlab.FullCone} {
			t.Run(string(how)+"/"+name, func(t *testing.T) {
				t.Parallel()
				l := build(t, behind(natlab.RouterSpec{NAT: &n}), kernel.Options{Routers: how})
				alice, server := packets(t, l, "alice", ":5000"), packets(t, l, "server", ":6000")
				seen := passes(t, alice, server, at(l, "server", 6000), "out")
				passes(t, server, alice, seen, "in")
				if err := l.Reboot(t.Context(), "box"); err != nil {
					t.Fatal(err)
				}
				lost(t, server, alice, seen, "in after the reboot")
				seen = passes(t, alice, server, at(l, "server", 6000), "out again")
				passes(t, server, alice, seen, "in again")
			})
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	l := build(t, behind(natlab.RouterSpec{NAT: &natlab.PortRestricted}), kernel.Options{})
	alice, server := packets(t, l, "alice", ":5000"), packets(t, l, "server", ":6000")
	passes(t, alice, server, at(l, "server", 6000), "before")
	for range 2 {
		for _, on := range []bool{true, true, false} {
			if err := l.Cut(t.Context(), "home", on); err != nil {
				t.Fatal(err)
			}
			if on {
				lost(t, alice, server, at(l, "server", 6000), "meanwhile")
			} else {
				passes(t, alice, server, at(l, "server", 6000), "after")
			}
		}
	}
}

func TestMove(t *testing.T) {
	t.Parallel()
	l := build(t, roaming(natlab.PortRestricted), kernel.Options{})
	server := packets(t, l, "server", ":6000")
	from := func(word, router string) {
		t.Helper()
		alice := packets(t, l, "alice", ":0")
		if got := passes(t, alice, server, at(l, "server", 6000), word); got.Addr() != l.External(router)[0] {
			t.Errorf("%s: seen at %v, want %v", word, got, l.External(router))
		}
	}
	from("at home", "box")
	home := l.Addrs("alice")
	if err := l.Move(t.Context(), "alice", "mobile"); err != nil {
		t.Fatal(err)
	}
	from("mobile", "cell")
	if got := l.Addrs("alice"); len(got) != 1 || got[0] == home[0] {
		t.Errorf("addresses %v, were %v", got, home)
	}
	if hosts := tells(t, l, "server", "cat", "/etc/hosts"); !strings.Contains(hosts, l.Addrs("alice")[0].String()+" alice") {
		t.Errorf("the server is told %s", hosts)
	}
	if err := l.Join(t.Context(), "alice", "vpn"); err != nil {
		t.Fatal(err)
	}
	from("in the VPN", "gate")
	if err := l.Leave(t.Context(), "alice", "vpn"); err != nil {
		t.Fatal(err)
	}
	from("mobile again", "cell")
	if err := l.Move(t.Context(), "alice", "home"); err != nil {
		t.Fatal(err)
	}
	from("at home again", "box")
	if got := l.Addrs("alice"); got[0] != home[0] {
		t.Errorf("addresses %v, were %v", got, home)
	}
	for what, err := range map[string]error{
		"a network that is not the host's": l.Move(t.Context(), "alice", natlab.Internet),
		"an unknown host":                  l.Move(t.Context(), "nobody", "home"),
		"an unknown router":                l.Reboot(t.Context(), "nobody"),
		"an unknown network":               l.Cut(t.Context(), "nowhere", true),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func TestCapture(t *testing.T) {
	t.Parallel()
	l := build(t, behind(natlab.RouterSpec{NAT: &natlab.PortRestricted}), kernel.Options{Routers: kernel.TUNRouters})
	file := filepath.Join(t.TempDir(), "box.pcap")
	stop, err := l.Capture(t.Context(), "box", file)
	if err != nil {
		t.Fatal(err)
	}
	alice, server := packets(t, l, "alice", ":5000"), packets(t, l, "server", ":6000")
	passes(t, alice, server, at(l, "server", 6000), "for the record")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil || strings.Count(string(b), "for the record") != 4 { // at each interface
		t.Errorf("%d times in the capture, %v", strings.Count(string(b), "for the record"), err)
	}
	if out := tells(t, l, "box", "tcpdump", "-nr", file); !strings.Contains(out, "192.168.1.2.5000 > ") || !strings.Contains(out, "198.18.0.2.5000 > ") {
		t.Errorf("tcpdump reads %s", out)
	}
}
