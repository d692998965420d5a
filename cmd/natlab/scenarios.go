package main

import (
	"os"
	"path/filepath"

	"switchboard/cmd/natlab/internal/scenario"
)

// load reads scenarios. All that can be wrong with them is for who called the program.
func (p *program) load(dir string, names ...string) ([]*scenario.Scenario, error) {
	list, err := scenario.Load(p.dir(dir), names...)
	if err != nil {
		return nil, &exit{exitUsage, err}
	}
	return list, nil
}

// dir is where scenarios are: as said, or beside this directory or one above.
func (p *program) dir(given string) string {
	if given == "" {
		given = p.env("NATLAB_SCENARIOS")
	}
	if given != "" {
		return given
	}
	at := scenario.Dir
	for range 16 {
		if info, err := os.Stat(at); err == nil && info.IsDir() {
			return at
		}
		at = filepath.Join("..", at)
	}
	return scenario.Dir
}
