package report

import (
	"slices"

	"switchboard/cmd/natlab/internal/theory"
)

// PathOf is the path that two sides' selected pairs come to; None if either has none. Through
// a relay it is named by the transport by which the side that reaches its relay hardest
// does. A remote candidate that was met before it was announced counts as what the other
// side has it as.
func PathOf(sides [2]Side) theory.Path {
	a, b := sides[0], sides[1]
	if a.Local == "" || b.Local == "" || a.Remote == "" || b.Remote == "" {
		return theory.None
	}
	path := theory.Direct
	for _, s := range sides {
		if s.Local != "relay" {
			continue
		}
		transport := map[string]theory.Path{"tcp": theory.RelayTCP, "tls": theory.RelayTLS}[s.Relay]
		if transport == "" {
			transport = theory.RelayUDP
		}
		path = theory.Worst(path, transport)
	}
	switch {
	case path != theory.Direct:
	case a.Remote == "relay" || b.Remote == "relay":
		path = theory.RelayUDP
	case a.remoteIsHost(b) && b.remoteIsHost(a):
		path = theory.Host
	}
	return path
}

func (s Side) remoteIsHost(other Side) bool {
	return s.Remote == "host" || s.RemoteAddress != "" && slices.ContainsFunc(other.Candidates, func(c Candidate) bool {
		return c.Type == "host" && c.Address == s.RemoteAddress
	})
}
