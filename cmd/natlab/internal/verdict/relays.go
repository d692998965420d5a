package verdict

import (
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/relay"
)

// The share of packets each way that the kernel must relay, where it is to. The rest is what
// comes before a channel has carried its first packet, and checks of pairs that the kernel
// does not relay: after an ICE restart, these are many.
const (
	leastByKernel      = 0.5
	leastAfterRestarts = 0.25
)

// relays holds relays that are to relay in the kernel to that, where a selected pair went
// through them in a way that the kernel can relay.
func (j judge) relays(relays map[string]scenario.Relay) {
	least := leastByKernel
	if j.call.Sides[0].Restarts+j.call.Sides[1].Restarts > 0 {
		least = leastAfterRestarts
	}
	for _, r := range j.call.Relays {
		if !r.KernelsWork || relays[r.Name].DataPath != relay.DataPathEBPF {
			continue
		}
		for _, way := range []struct {
			to   string
			sent report.Relayed
		}{{"peers", r.Up}, {"clients", r.Down}} {
			if way.sent.ByKernel > 0 && way.sent.Share() >= least {
				continue
			}
			text := "the kernel relayed %d of %d packets to %s at %s, expected most"
			if why := r.Why(); why != "" {
				text += " (" + why + ")"
			}
			j.bad(text, way.sent.ByKernel, way.sent.Packets, way.to, r.Name)
		}
	}
}
