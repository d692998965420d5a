package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Relay is what a relay has relayed in a call, from when both sides had media: of all that it
// was sent, so also checks after an ICE restart. Without media, it is from the beginning.
type Relay struct {
	Name string `json:"relay"`
	// DataPath is who relays what can be: ebpf is the kernel; user and plain are the relay's
	// process. "" is unknown: the relay was never asked.
	DataPath string  `json:"data_path"`
	Up       Relayed `json:"up"`   // to peers
	Down     Relayed `json:"down"` // to clients
	// KernelsWork is whether a selected pair went through it in a way that the kernel can
	// relay: from a client over UDP to a peer on another machine, in one family of addresses.
	KernelsWork bool `json:"kernels_work"`
	// Left counts packets that the kernel left to the process, and Refused channels that it was
	// not given, by reason; of the whole call.
	Left    map[string]uint64 `json:"left,omitempty"`
	Refused map[string]uint64 `json:"refused,omitempty"`
}

// Relayed counts packets one way.
type Relayed struct {
	Packets  uint64 `json:"packets"`
	ByKernel uint64 `json:"by_kernel"` // of these
}

// Share is the share that the kernel relayed, 0 to 1.
func (r Relayed) Share() float64 {
	if r.Packets == 0 {
		return 0
	}
	return float64(r.ByKernel) / float64(r.Packets)
}

// Since is what came after something earlier.
func (r Relayed) Since(earlier Relayed) Relayed {
	return Relayed{r.Packets - earlier.Packets, r.ByKernel - earlier.ByKernel}
}

func (r Relayed) plus(more Relayed) Relayed {
	return Relayed{r.Packets + more.Packets, r.ByKernel + more.ByKernel}
}

// Why says what kept the kernel from relaying, as far as the relay tells; "" is unknown.
func (r Relay) Why() string {
	var words []string
	for _, reason := range slices.Sorted(maps.Keys(r.Left)) {
		words = append(words, fmt.Sprintf("%s left as %s", Plural(int(r.Left[reason]), "packet", "packets"), reason))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Refused)) {
		words = append(words, fmt.Sprintf("%s refused for %s", Plural(int(r.Refused[reason]), "channel", "channels"), reason))
	}
	return strings.Join(words, ", ")
}

// String is a sentence without its full stop.
func (r Relay) String() string {
	text := fmt.Sprintf("relay %s: data path %s; by the kernel %d of %d packets to peers, %d of %d to clients",
		r.Name, r.path(), r.Up.ByKernel, r.Up.Packets, r.Down.ByKernel, r.Down.Packets)
	if why := r.Why(); why != "" {
		text += "; " + why
	}
	return text
}

func (r Relay) path() string {
	if r.DataPath == "" {
		return "unknown"
	}
	return r.DataPath
}

// relayed is what all relays of some calls have relayed. Where the path was never one through
// a relay, that is nothing of the call's: a few checks.
func relayed(calls []Call) (all Relayed) {
	for _, c := range calls {
		if !strings.HasPrefix(c.Path, "relay/") && !strings.HasPrefix(c.After, "relay/") {
			continue
		}
		for _, r := range c.Relays {
			all = all.plus(r.Up).plus(r.Down)
		}
	}
	return all
}

// mostlyKernel is the share from which on a call counts as relayed by the kernel. The rest is
// what goes before a channel has carried its first packet.
const mostlyKernel = 0.5

// byKernel is whether the kernel has relayed most of a cell.
func (c cell) byKernel() bool { return relayed(c.placed()).Share() >= mostlyKernel }

// relayedBy is who has relayed a cell, in few words; "" if nobody has, or nobody knows.
func (c cell) relayedBy() string {
	switch all := relayed(c.placed()); {
	case all.Packets == 0:
		return ""
	case all.ByKernel == 0:
		return "process"
	default:
		return fmt.Sprintf("kernel %.0f %%", 100*all.Share())
	}
}
