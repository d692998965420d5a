package theory

import "slices"

// Path is how media goes.
type Path string

// A call's path is that of the worse side: one that goes through a relay is named by the
// transport by which the side that reaches it hardest does.
const (
	Host     Path = "host"      // both by their own addresses
	Direct   Path = "direct"    // through NATs (srflx or prflx)
	RelayUDP Path = "relay/udp" // through a relay
	RelayTCP Path = "relay/tcp"
	RelayTLS Path = "relay/tls"
	None     Path = "none"
)

// Paths lists all of them, the best first.
func Paths() []Path { return []Path{Host, Direct, RelayUDP, RelayTCP, RelayTLS, None} }

// Known is whether it is one of [Paths].
func (p Path) Known() bool { return slices.Contains(Paths(), p) }

// Worse is whether it is worse than q. What is not known is worse than all.
func (p Path) Worse(q Path) bool { return p.rank() > q.rank() }

// Worst is the worst of some, Host of none.
func Worst(paths ...Path) Path {
	worst := Host
	for _, p := range paths {
		if p.Worse(worst) {
			worst = p
		}
	}
	return worst
}

func (p Path) rank() int {
	if i := slices.Index(Paths(), p); i >= 0 {
		return i
	}
	return len(Paths())
}
