package kernel_test

import (
	"os"
	"testing"

	"switchboard/relay/natlab"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("makes network namespaces: needs root")
	}
}

// behind has alice and bob behind a router each, a server on the internet and nothing
// else.
func behind(r natlab.RouterSpec) natlab.Topology {
	box, gate := r, r
	box.Inside, box.Outside = "home", natlab.Internet
	gate.Inside, gate.Outside = "office", natlab.Internet
	return natlab.Topology{
		Networks: map[string]natlab.NetworkSpec{"home": {}, "office": {}},
		Routers:  map[string]natlab.RouterSpec{"box": box, "gate": gate},
		Hosts: map[string]natlab.HostSpec{
			"alice":  {Networks: []string{"home"}},
			"bob":    {Networks: []string{"office"}},
			"server": {Networks: []string{natlab.Internet}},
		},
	}
}
