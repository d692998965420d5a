package virtual

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/cmd/natlab/internal/theory"
	"switchboard/relay/natlab"
)

// accesses are all behaviours, and firewalls.
func accesses() (names []string, all map[string]natlab.RouterSpec) {
	all = map[string]natlab.RouterSpec{"no-udp": noUDP, "tls": onlyTLS}
	names = []string{"no-udp", "tls"}
	short := map[natlab.Behavior]string{0: "ei", 1: "ad", 2: "apd"}
	for _, m := range natlab.Behaviors() {
		for _, f := range natlab.Behaviors() {
			n := natlab.NAT{Mapping: m, Filtering: f}
			if m != natlab.EndpointIndependent {
				n.Ports = natlab.RandomPorts
			}
			name := short[m] + "-" + short[f]
			names = append(names, name)
			all[name] = natlab.RouterSpec{NAT: &n}
		}
	}
	return names, all
}

func TestMatrix(t *testing.T) {
	seeds := 1
	if n, err := strconv.Atoi(os.Getenv("SEEDS")); err == nil {
		seeds = n
	}
	names, all := accesses()
	for _, a := range names {
		for _, b := range names {
			t.Run(a+" × "+b, func(t *testing.T) {
				t.Parallel()
				c := pair(all[a], all[b], "")
				e, err := theory.Between(c.Topology, "alice", "bob", true)
				if err != nil {
					t.Fatal(err)
				}
				c.Expect.Path = e.Path
				for seed := range seeds {
					call := run(t, c, uint64(seed+1))
					for _, f := range call.Failures {
						t.Errorf("seed %d: %s", seed+1, f)
					}
					if len(call.Failures) > 0 {
						fmt.Println(a, b, seed+1, story(call))
						for _, s := range call.Sides {
							fmt.Printf("%+v\n", s)
						}
					}
				}
			})
		}
	}
}

var _ scenario.Path
