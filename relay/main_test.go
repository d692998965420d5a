package relay

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// children are what this program is where an environment variable has its settings.
var children = map[string]func(settings string) error{childEnv: runChild}

func TestMain(m *testing.M) {
	for env, run := range children {
		settings := os.Getenv(env)
		if settings == "" {
			continue
		}
		if err := run(settings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
