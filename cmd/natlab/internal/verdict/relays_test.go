package verdict

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

func TestKernelMustRelay(t *testing.T) {
	by := func(up, down uint64) report.Relay {
		return report.Relay{
			Name: "relay", DataPath: "ebpf", KernelsWork: true,
			Up: report.Relayed{Packets: 100, ByKernel: up}, Down: report.Relayed{Packets: 200, ByKernel: down},
		}
	}
	for _, test := range []struct {
		name     string
		path     string // that the scenario asks for
		relay    report.Relay
		restarts int
		want     []string
	}{
		{"nearly all", "ebpf", by(95, 190), 0, nil},
		{"most, in a short call", "ebpf", by(50, 100), 0, nil},
		{"none up", "ebpf", by(0, 190), 0, []string{"the kernel relayed 0 of 100 packets to peers at relay, expected most"}},
		{"few down", "ebpf", by(95, 99), 0, []string{"the kernel relayed 99 of 200 packets to clients at relay, expected most"}},
		{"many checks after a restart", "ebpf", by(30, 50), 1, nil},
		{"nearly nothing after a restart", "ebpf", by(30, 49), 1, []string{"the kernel relayed 49 of 200 packets to clients at relay, expected most"}},
		{"none at all, which nobody asked for", "auto", by(0, 0), 0, nil},
		{"none at all, as asked", "user", by(0, 0), 0, nil},
		{"none, as it is not the kernel's", "ebpf", report.Relay{Name: "relay", Up: report.Relayed{Packets: 9}}, 0, nil},
		{"a relay that was never heard of", "ebpf", report.Relay{Name: "relay", KernelsWork: true}, 0, []string{
			"the kernel relayed 0 of 0 packets to peers at relay, expected most",
			"the kernel relayed 0 of 0 packets to clients at relay, expected most",
		}},
		{"with why", "ebpf", report.Relay{
			Name: "relay", KernelsWork: true, Up: report.Relayed{Packets: 9}, Down: report.Relayed{Packets: 9, ByKernel: 9},
			Left: map[string]uint64{"unsummed": 8, "long": 1}, Refused: map[string]uint64{"route": 1},
		}, 0, []string{"the kernel relayed 0 of 9 packets to peers at relay, expected most (1 packet left as long, 8 packets left as unsummed, 1 channel refused for route)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, call := good()
			c.Relays = map[string]scenario.Relay{"relay": {DataPath: test.path}}
			call.Relays = []report.Relay{test.relay}
			call.Sides[1].Restarts = test.restarts
			Judge(c, &call)
			if diff := cmp.Diff(test.want, call.Failures); diff != "" {
				t.Error(diff)
			}
		})
	}
}
