package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// askHealth asks the process of the settings, on this machine, whether it is ready, or
// with -alive whether it is there at all. It is for what watches a container.
func (p program) askHealth(ctx context.Context, args []string) error {
	f := flags("health")
	file := p.configFlag(f)
	alive := f.Bool("alive", false, "whether it answers at all")
	if err := parse(f, args); err != nil {
		return err
	}
	c, _, err := Load(*file, p.environ)
	if err != nil {
		return usageError{err}
	}
	if *alive {
		if _, err := askOps(ctx, c.Ops.Listen, "/healthz"); err != nil {
			return fmt.Errorf("health: %w", err)
		}
		fmt.Fprintln(p.stdout, "alive")
		return nil
	}
	text, err := askOps(ctx, c.Ops.Listen, "/readyz")
	var r readiness
	if json.Unmarshal([]byte(text), &r) != nil {
		r.Parts = nil
	}
	for _, part := range slices.Sorted(maps.Keys(r.Parts)) {
		fmt.Fprintf(p.stdout, "%s: %s\n", part, plain(r.Parts[part]))
	}
	if err != nil {
		return fmt.Errorf("health: not ready: %w", err)
	}
	return nil
}
