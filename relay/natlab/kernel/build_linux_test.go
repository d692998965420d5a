package kernel_test

import (
	"context"
	"os"
	"testing"
	"time"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/kernel"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("makes network namespaces: needs root")
	}
}

func behind(n natlab.NAT) natlab.Topology {
	return natlab.Topology{
		Networks: map[string]natlab.NetworkSpec{"home": {}, "office": {}},
		Routers: map[string]natlab.RouterSpec{
			"box":  {Inside: "home", Outside: natlab.Internet, NAT: &n},
			"gate": {Inside: "office", Outside: natlab.Internet, NAT: &n},
		},
		Hosts: map[string]natlab.HostSpec{
			"alice":  {Networks: []string{"home"}},
			"bob":    {Networks: []string{"office"}},
			"server": {Networks: []string{natlab.Internet}},
			"relay":  {Networks: []string{natlab.Internet}},
		},
	}
}

func TestFirst(t *testing.T) {
	needRoot(t)
	for _, how := range []kernel.Routers{kernel.NFTRouters, kernel.TUNRouters} {
		start := time.Now()
		l, err := kernel.Build(context.Background(), behind(natlab.PortRestricted), kernel.Options{Routers: how})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("built in %v", time.Since(start))
		for _, c := range [][]string{
			{"cat", "/etc/hosts"}, {"ip", "addr"}, {"ip", "route"}, {"ip", "neigh"},
		} {
			out, err := l.Command(t.Context(), "alice", c[0], c[1:]...).CombinedOutput()
			t.Logf("%v: %s %v", c, out, err)
		}
		ln, err := l.Listen(t.Context(), "server", "tcp", ":443")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := ln.Accept()
			if err == nil {
				t.Log(c.RemoteAddr())
				c.Close()
			}
		}()
		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		c, err := l.DialContext(ctx, "alice", "tcp", "server:443")
		t.Log(time.Since(start), err)
		cancel()
		if err == nil {
			c.Close()
		}
		ln.Close()
		start = time.Now()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("closed in %v", time.Since(start))
	}
}
