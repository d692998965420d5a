package fleet

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build builds the programs that an installation runs, and others of this module's,
// into a folder, and returns a Config that has them. It is for tests.
func Build(ctx context.Context, dir string, others ...string) (Config, error) {
	args := append([]string{"build", "-o", dir, "switchboard/cmd/switchboard", "github.com/nats-io/nats-server/v2"}, others...)
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return Config{}, fmt.Errorf("build: %w\n%s", err, out)
	}
	return Config{NATS: filepath.Join(dir, "nats-server"), Switchboard: filepath.Join(dir, "switchboard")}, nil
}
