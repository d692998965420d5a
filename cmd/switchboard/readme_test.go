package main

import (
	"os"
	"strings"
	"testing"
)

// TestDependencies holds the README's table against go.mod: every module that
// is required directly stands there, with its version and a reason, and no
// other.
func TestDependencies(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	_, table, _ := strings.Cut(string(readme), "| module | version | why |")
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && strings.Contains(cells[1], "/") && strings.TrimSpace(cells[3]) != "" {
			rows[strings.TrimSpace(cells[1])] = strings.TrimSpace(cells[2])
		}
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, tools, _ := strings.Cut(string(mod), "\ntool")
	versions := map[string]string{}
	for line := range strings.Lines(string(mod)) {
		f := strings.Fields(line)
		if len(f) < 2 || !strings.HasPrefix(f[1], "v") || !strings.Contains(f[0], "/") {
			continue
		}
		// A tool is required indirectly, but by us.
		if len(f) == 2 || strings.Contains(tools, f[0]+"/") {
			versions[f[0]] = f[1]
		}
	}
	if len(versions) < 10 {
		t.Fatalf("go.mod was not understood: %v", versions)
	}
	for m, v := range versions {
		if rows[m] != v {
			t.Errorf("%s %s stands in the table with %q", m, v, rows[m])
		}
		delete(rows, m)
	}
	for m := range rows {
		t.Errorf("%s stands in the table and is not required", m)
	}
}
