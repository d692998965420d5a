package main

import (
	"flag"
	"io"
	"os"
	"strings"
	"testing"
)

// TestGuideHasEveryFlag holds README.md against the flags of all commands.
func TestGuideHasEveryFlag(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands() {
		if !strings.Contains(string(page), "natlab "+c.name) {
			t.Errorf("README.md does not have natlab %s", c.name)
		}
		fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
		c.flags(&program{stdout: io.Discard, stderr: io.Discard}, fs)
		fs.VisitAll(func(f *flag.Flag) {
			dashes := "--"
			if len(f.Name) == 1 {
				dashes = "-"
			}
			if !strings.Contains(string(page), "`"+dashes+f.Name) {
				t.Errorf("README.md does not explain %s%s of natlab %s", dashes, f.Name, c.name)
			}
		})
	}
}
