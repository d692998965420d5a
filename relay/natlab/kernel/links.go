package kernel

import (
	"fmt"
	"math"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/link"
)

// Links is what delays and loses in a lab.
type Links string

const (
	// AutoLinks is the kernel where it can do what the link is to do, and else user space. It
	// is the zero value.
	AutoLinks Links = ""
	// UserLinks is user space, for every link that does something.
	UserLinks Links = "user"
)

// chooseLink decides for a network.
func chooseLink(c natlab.Link, how Links) Choice {
	switch {
	case c == (natlab.Link{}):
		return Choice{"veth", "the link does nothing"}
	case how == UserLinks:
		return Choice{"user", "links in user space were asked for"}
	case c.Delay > 0 || c.Jitter > 0:
		return Choice{"user", "the kernel has nothing that delays"}
	case c.Burst > 1:
		return Choice{"user", "the kernel has no losses in runs"}
	}
	return Choice{"kernel", "nftables loses by lot, and a token bucket bounds the rate"}
}

// lossRules have nftables lose packets on a bridge's port, in both directions. Those that
// find neighbours are not lost.
func lossRules(port string, loss float64) string {
	const per = 1_000_000
	drop := fmt.Sprintf("meta l4proto { tcp, udp, icmp } numgen random mod %d < %d drop", per, int(math.Round(loss*per)))
	table := "loss-" + port
	return fmt.Sprintf(`table netdev %[1]s
delete table netdev %[1]s
table netdev %[1]s {
chain up { type filter hook ingress device %[2]q priority 0;
%[3]s
}
chain down { type filter hook egress device %[2]q priority 0;
%[3]s
}
}
`, table, port, drop)
}

// rateArgs have tc bound what leaves a device. The bucket has room for a packet, or for what
// the rate lets pass in a tick of the slowest kernel's clock.
func rateArgs(dev string, c natlab.Link) []string {
	const ticks, packet = 100, 1600
	queue := c.Queue
	if queue == 0 {
		queue = link.DefaultQueue
	}
	burst := max(packet, c.Rate/8/ticks)
	return []string{"qdisc", "replace", "dev", dev, "root", "tbf", "rate", fmt.Sprintf("%dbit", c.Rate), "burst", fmt.Sprint(burst), "latency", fmt.Sprintf("%dus", queue.Microseconds())}
}
