package fleet_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"switchboard/cmd/switchboard/internal/fleet"
)

// forLoads has the limits of people out of the way.
const forLoads = `
auth: {code_resend: 0s, codes_per_hour: 1000, address_per_hour: 1000000, address_burst: 100000}
signaling: {limits: {messages_burst: 1000, strangers_per_hour: 500}}
directory: {lease_ttl: 3s, renew_every: 500ms}
`

// TestLoadOutlivesANode kills the node that half of a load's devices are on: they go
// on to the other, and the load proves that nothing is lost or shown twice.
func TestLoadOutlivesANode(t *testing.T) {
	bin := t.TempDir()
	c, err := fleet.Build(t.Context(), bin, "switchboard/cmd/softphone")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c.Dir, c.Servers, c.Nodes, c.Log, c.Settings = t.TempDir(), 1, 2, &log, forLoads
	f, err := fleet.Start(t.Context(), c)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	defer f.Close()
	one, two := f.Nodes[0], f.Nodes[1]
	load := exec.CommandContext(t.Context(), filepath.Join(bin, "softphone"), "-json", "-server", one.URL+","+two.URL, "load", "-codes", one.Codes+","+two.Codes,
		"-accounts", "6", "-devices", "2", "-rate", "40", "-duration", "6s", "-every", "500ms")
	out, err := load.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	type event struct {
		Event                            string
		OK                               bool
		Sent, Stored, Shown, Disconnects int
	}
	var last event
	killed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		last = event{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Errorf("%q: %v", lines.Text(), err)
		}
		if last.Event == "load" && last.Stored > 40 && !killed {
			killed = true
			if err := one.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := load.Wait(); err != nil {
		t.Errorf("load: %v\n%s", err, &log)
	}
	if v := last; v.Event != "verdict" || !v.OK || v.Sent != 240 || v.Stored != v.Sent || v.Shown != 3*v.Sent || v.Disconnects < 6 {
		t.Errorf("%+v", v)
	}
}
