package main

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set by the linker for releases.
var version = ""

// buildVersion says which code this is: the release, or else the commit it was
// built from, and what built it.
func buildVersion() string {
	return strings.Join([]string{codeVersion(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}, " ")
}

func codeVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changed"
		}
	}
	if commit == "" {
		return info.Main.Version
	}
	return commit + changed
}
