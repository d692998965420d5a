package main

import (
	"io"
	"testing"
)

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		name string
		env  []string
		args []string
		want int
	}{
		{"help", nil, []string{"help"}, exitOK},
		{"help of a command", nil, []string{"serve", "-help"}, exitOK},
		{"version", nil, []string{"-version"}, exitOK},
		{"no such command", nil, []string{"dial"}, exitUsage},
		{"no such flag", nil, []string{"-x"}, exitUsage},
		{"bad settings", []string{"SWITCHBOARD_ROLES=waiter"}, []string{"check-config"}, exitUsage},
		{"bad settings to serve", []string{"SWITCHBOARD_ROLES=waiter"}, nil, exitUsage},
		{"no such folder", nil, []string{"gen-secret", "-out", "/dev/null/secret"}, exitFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := program{stdout: io.Discard, stderr: io.Discard, environ: test.env}
			if got := p.run(t.Context(), test.args); got != test.want {
				t.Errorf("exit code %d, want %d", got, test.want)
			}
		})
	}
}
