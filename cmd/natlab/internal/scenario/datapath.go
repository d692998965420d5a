package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"switchboard/relay"
)

// DataPaths are those that a relay can be told to relay by (relay.Config's DataPath).
var DataPaths = []string{relay.DataPathAuto, relay.DataPathEBPF, relay.DataPathUser, relay.DataPathPlain}

// CheckDataPath says what is wrong with a data path. An empty one is the relay's own
// choice.
func CheckDataPath(path string) error {
	if path != "" && !slices.Contains(DataPaths, path) {
		return fmt.Errorf("%q is none of %s", path, strings.Join(DataPaths, ", "))
	}
	return nil
}

// WithDataPath is the case with all relays told to relay by one data path.
func (c Case) WithDataPath(path string) Case {
	c.Relays = maps.Clone(c.Relays)
	for name, r := range c.Relays {
		r.DataPath = path
		c.Relays[name] = r
	}
	return c
}

// NeedsKernel reports whether a relay of the case must relay in the kernel, which the
// virtual engine has none of.
func (c Case) NeedsKernel() bool {
	for _, r := range c.Relays {
		if r.DataPath == relay.DataPathEBPF {
			return true
		}
	}
	return false
}
