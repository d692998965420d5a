package phone

import (
	"net"
	"strconv"
	"strings"

	"github.com/pion/stun/v4"

	"switchboard/signaling/protocol"
)

// relaysOf are the relays of ice in their order, each with the ways to reach it.
func relaysOf(ice protocol.ICE) (all [][]way) {
	for _, s := range ice.Servers {
		var relay []way
		for _, text := range s.URLs {
			u, err := stun.ParseURI(text)
			if err == nil && (u.Scheme == stun.SchemeTypeTURN || u.Scheme == stun.SchemeTypeTURNS) {
				relay = append(relay, way{transportOf(text), net.JoinHostPort(u.Host, strconv.Itoa(u.Port))})
			}
		}
		if relay != nil {
			all = append(all, relay)
		}
	}
	return all
}

// transportOf is how a TURN URL reaches its relay (RFC 7065).
func transportOf(url string) string {
	switch {
	case strings.HasPrefix(url, "turns:"):
		return "tls"
	case strings.Contains(url, "transport=tcp"):
		return "tcp"
	}
	return "udp"
}
