package main

import (
	"encoding/json"
	"strings"
	"testing"

	"switchboard/signaling/admin"
)

// TestDataPath asks a relay who relays its packets, and changes that.
func TestDataPath(t *testing.T) {
	n := testNode(t, "{node: relay-1, roles: [relay], relay: {data_path: user}}")
	p := start(t, n)
	as := []string{"-addr", p.Ops, "-token-file", n.config.AdminTokenPath()}
	command := func(args ...string) []string { return append(append([]string{"data-path"}, args...), as...) }
	told := `^channels over UDP: 0, of which the kernel relays 0\npackets relayed by the kernel: 0 up, 0 down; by the process: 0 up, 0 down\n`

	says(t, exitOK, `^relay relay-1: its process relays \(user\): data_path: user\n`+told, command()...)
	says(t, exitOK, `^relay relay-1: its process relays \(user\): an operator has chosen it\n`+told, command("user")...)
	// On loopback, where this one listens, the kernel relays nothing.
	says(t, exitOK, `^relay relay-1: its process relays \(user\): [^\n]+\n`+told, command("auto")...)
	says(t, exitFailed, `^switchboard: relay: the kernel does not relay: `, command("ebpf")...)

	for _, args := range [][]string{{"-json"}, {"-json", "user"}} {
		code, out, _ := typed(t, command(args...)...)
		var got admin.RelayDataPath
		if err := json.Unmarshal([]byte(out), &got); code != exitOK || err != nil || got.Name != "relay-1" || got.Path != "user" || got.Reason == "" {
			t.Errorf("%v: %d, %v, %s", args, code, err, out)
		}
	}
}

// A relay that was started with data_path: plain stays with it.
func TestDataPathIsPlain(t *testing.T) {
	n := testNode(t, "{node: relay-1, roles: [relay], relay: {data_path: plain}}")
	p := start(t, n)
	as := []string{"-addr", p.Ops, "-token-file", n.config.AdminTokenPath()}
	says(t, exitOK, `^relay relay-1: its process relays, a packet at a time \(plain\): data_path: plain\n`, append([]string{"data-path"}, as...)...)
	says(t, exitFailed, `the data path is plain for as long as the relay runs`, append([]string{"data-path", "auto"}, as...)...)
}

func TestDataPathMistakes(t *testing.T) {
	sig := testNode(t, "roles: [signaling]")
	p := start(t, sig)
	token := sig.config.AdminTokenPath()
	says(t, exitFailed, "this process has no relay", "data-path", "-addr", p.Ops, "-token-file", token)
	says(t, exitUsage, `"kernel" is none of auto, ebpf, user; see: switchboard help`, "data-path", "kernel")
	says(t, exitUsage, `"user" is one argument too many`, "data-path", "auto", "user")
	says(t, exitUsage, "flag provided but not defined: -wait", "data-path", "-wait")
	says(t, exitUsage, "no token in", "data-path", "-token-file", "/nowhere")
	says(t, exitFailed, "is that its ops.listen", "data-path", "user", "-addr", freeAddress(t), "-token-file", token)
	says(t, exitOK, "^Usage:", "data-path", "-h")
}

func TestPrintDataPath(t *testing.T) {
	var out strings.Builder
	printDataPath(&out, admin.RelayDataPath{
		Name: "relay-1", Path: "ebpf", Reason: "it can", Interfaces: []string{"eth0", "eth1"}, Channels: 14, InKernel: 12,
		KernelPackets: admin.Packets{Up: 1000, Down: 990}, ProcessPackets: admin.Packets{Up: 4, Down: 3},
	})
	const want = `relay relay-1: the kernel relays (ebpf): it can
interfaces: eth0, eth1
channels over UDP: 14, of which the kernel relays 12
packets relayed by the kernel: 1000 up, 990 down; by the process: 4 up, 3 down
`
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
