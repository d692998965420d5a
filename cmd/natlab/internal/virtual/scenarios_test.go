package virtual

import (
	"flag"
	"strings"
	"testing"

	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/scenario"
)

// seeds is how often each case is placed: once is for every change, a hundred times for
// what happens one time in fifty.
var seeds = flag.Int("seeds", 1, "how many `times` to place each call, with the seeds 1 and on")

// TestScenarios places all calls of configs/natlab that this engine can: the path is
// theory's in every cell of the matrix, and calls survive every event.
func TestScenarios(t *testing.T) {
	list, err := scenario.Load("../../../../configs/natlab")
	if err != nil {
		t.Fatal(err)
	}
	placed := 0
	for _, s := range list {
		if !s.On(engine.Virtual) {
			continue
		}
		for _, c := range s.Cases() {
			placed++
			t.Run(s.Name+"/"+strings.ReplaceAll(c.Name, " ", ""), func(t *testing.T) {
				t.Parallel()
				for seed := 1; seed <= *seeds; seed++ {
					call := run(t, c, uint64(seed))
					for _, f := range call.Failures {
						t.Errorf("seed %d: %s", seed, f)
					}
					if len(call.Failures) > 0 {
						t.Logf("%+v\n%s", call.Sides, story(call))
					}
				}
			})
		}
	}
	if placed < 200 {
		t.Errorf("%d calls placed; there were more than that", placed)
	}
}
