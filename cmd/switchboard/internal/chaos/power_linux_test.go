package chaos

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"switchboard/cmd/switchboard/internal/chaos/powerdisk"
	"switchboard/cmd/switchboard/internal/fleet"
)

// powered is a disk under a directory that the house will use.
func powered(t *testing.T, dir string) *powerdisk.Disk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d := powerdisk.New()
	d.Show(t, dir)
	return d
}

// cut cuts the power of the processes that are on a disk, and starts them again
// on what was synced.
func cut(t *testing.T, d *powerdisk.Disk, dir string, on ...*fleet.Process) {
	t.Helper()
	d.Cut()
	for _, p := range on {
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Unmount(), d.Mount(dir)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, p := range on {
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// waiting is how many texts wait when the power fails: more than may be on their
// way to a phone already.
const waiting = 500

// TestPowerCut cuts the power of a node, with all inside, while texts come that
// wait: what was acknowledged is there afterwards, what was not synced is gone.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "node1", "data")
	disk := powered(t, data)
	h := startHouse(t, fleet.Config{Dir: dir})
	times := 1
	if *long > 0 {
		times = 20
	}
	for range times {
		read := h.quiet.hold()
		taken, stop := h.text()
		h.await(taken, waiting)
		cut(t, disk, data, h.fleet.Nodes[0].Process)
		stop()
		read()
		h.sound()
	}
	t.Logf("%d syncs", disk.Syncs())
}

// TestPowerCutTells does the same to a NATS server that syncs now and then, as
// it does by default: the test above would notice.
func TestPowerCutTells(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "nats1", "data")
	disk := powered(t, data)
	h := startHouse(t, fleet.Config{Dir: dir, Servers: 1, SyncInterval: "2m"})
	read := h.quiet.hold()
	taken, stop := h.text()
	h.await(taken, waiting)
	cut(t, disk, data, h.fleet.Servers[0], h.fleet.Nodes[0].Process)
	stop()
	read()
	if r := h.owed(2 * time.Second); len(r.Breaches) == 0 {
		t.Errorf("nothing was lost: %v", r)
	}
}
