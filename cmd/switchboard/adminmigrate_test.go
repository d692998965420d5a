package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	installation "switchboard/cmd/switchboard/internal/fleet"
)

// TestAdminMigrate moves an installation by the commands that an operator types:
// a token that was given before, and a text that waits, are good afterwards.
func TestAdminMigrate(t *testing.T) {
	dir := t.TempDir()
	before := testNode(t, "{node: one, data_dir: '"+dir+"'}")
	p := start(t, before)
	tokenA, tokenB := register(t, p.Addrs, alice), register(t, p.Addrs, bob)
	send(t, connect(t, p.Addrs, tokenA), bob, "wait for me")
	if err := p.end(); err != nil {
		t.Fatal(err)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	leafPort := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	c, err := installation.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c.Dir, c.Servers, c.ServerSettings = t.TempDir(), 1, fmt.Sprintf("leafnodes { listen: \"127.0.0.1:%d\" }", leafPort)
	hub, err := installation.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
	leaf := fmt.Sprintf("nats://127.0.0.1:%d", leafPort)
	write := func(name, text string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	common := "development: true\nsecret_file: '" + before.config.SecretFile + "'\n"
	from := write("old.yaml", common+"data_dir: '"+dir+"'\n")
	to := write("new.yaml", common+"data_dir: '"+t.TempDir()+"'\nnats: {url: '"+hub.NATS+"', replicas: 1}\n")
	run := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if got := (program{stdout: &out, stderr: &out}).run(t.Context(), append([]string{"admin", "migrate"}, args...)); got != want {
			t.Errorf("%v ended with %d, want %d\n%s", args, got, want, &out)
		}
		return out.String()
	}
	otherSecret := write("secret", newSecret())
	for want, args := range map[string][]string{
		"-to and -leaf are needed": {"-config", from},
		"there is nothing to move": {"-config", to, "-to", to, "-leaf", leaf},
		"must list the servers":    {"-config", from, "-to", from, "-leaf", leaf},
		"another secret":           {"-config", from, "-to", write("x.yaml", "development: true\nsecret_file: '"+otherSecret+"'\nnats: {url: '"+hub.NATS+"'}\n"), "-leaf", leaf},
		"set mailbox.streams":      {"-config", from, "-to", write("y.yaml", common+"mailbox: {streams: 8}\nnats: {url: '"+hub.NATS+"'}\n"), "-leaf", leaf},
	} {
		if out := run(exitUsage, args...); !strings.Contains(out, want) {
			t.Errorf("%v says %q, want %q in it", args, out, want)
		}
	}
	if out := run(exitOK, "-config", from, "-to", to, "-leaf", leaf, "-dry-run"); !strings.Contains(out, "nothing was changed") {
		t.Errorf("a dry run says %q", out)
	}
	if out := run(exitOK, "-config", from, "-to", to, "-leaf", leaf); !strings.Contains(out, "now start the nodes") || strings.Contains(out, alice) {
		t.Errorf("it says %q", out)
	}

	after := clusterNode(t, hub.NATS, "two")
	after.config.SecretFile = before.config.SecretFile
	q := start(t, after)
	connect(t, q.Addrs, tokenA)
	if got := awaitText(t, connect(t, q.Addrs, tokenB)); got.Body != "wait for me" {
		t.Errorf("text %q", got.Body)
	}
	old := testNode(t, "{node: three, data_dir: '"+dir+"'}")
	old.config.SecretFile = before.config.SecretFile
	if err := old.serve(t.Context()); err == nil || !strings.Contains(err.Error(), "moved to a cluster") {
		t.Errorf("a node on the old files: %v", err)
	}
}
