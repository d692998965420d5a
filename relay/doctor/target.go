package doctor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pion/stun/v4"
)

// Target is where a relay is: one machine, and its ports.
type Target struct {
	// Host is a name or an address.
	Host string
	// ServerName is the name that the certificate must have. Empty is Host.
	ServerName string
	// UDP, TCP and TLS are the ports; 0 for a way that is not looked at.
	UDP, TCP, TLS uint16
}

// The ports of RFC 8656.
const (
	defaultPort    = 3478
	defaultTLSPort = 5349
)

// ParseTarget reads HOST, HOST:PORT, or URLs of RFC 7065 that all name one host, such as
// turn:relay.example?transport=udp,turns:relay.example:443?transport=tcp. With a
// host, UDP and TCP are looked at, and TLS where tlsPort is not 0.
func ParseTarget(text string, tlsPort uint16) (Target, error) {
	if strings.HasPrefix(text, "turn:") || strings.HasPrefix(text, "turns:") {
		return parseURLs(strings.Split(text, ","), tlsPort)
	}
	t := Target{Host: strings.Trim(text, "[]"), UDP: defaultPort, TCP: defaultPort, TLS: tlsPort}
	if _, err := netip.ParseAddr(t.Host); err != nil && strings.Contains(text, ":") {
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			return t, fmt.Errorf("%q is not HOST, HOST:PORT or a turn: URL", text)
		}
		p, err := strconv.ParseUint(port, 10, 16)
		if err != nil || p == 0 {
			return t, fmt.Errorf("%q is not a port", port)
		}
		t.Host, t.UDP, t.TCP = host, uint16(p), uint16(p)
	}
	if t.Host == "" {
		return t, errors.New("no host")
	}
	return t, nil
}

func parseURLs(urls []string, tlsPort uint16) (Target, error) {
	t := Target{TLS: tlsPort}
	for _, text := range urls {
		text = strings.TrimSpace(text)
		u, err := stun.ParseURI(text)
		switch {
		case err != nil:
			return t, fmt.Errorf("%q: %w", text, err)
		case t.Host != "" && t.Host != u.Host:
			return t, fmt.Errorf("%s and %s: look at one relay at a time", t.Host, u.Host)
		case u.Port <= 0 || u.Port > 65535:
			return t, fmt.Errorf("%q: no port", text)
		}
		t.Host = u.Host
		switch {
		case u.Scheme == stun.SchemeTypeTURN && !strings.Contains(text, "transport="):
			t.UDP, t.TCP = uint16(u.Port), uint16(u.Port)
		case u.Scheme == stun.SchemeTypeTURN && u.Proto == stun.ProtoTypeTCP:
			t.TCP = uint16(u.Port)
		case u.Scheme == stun.SchemeTypeTURN:
			t.UDP = uint16(u.Port)
		case u.Scheme == stun.SchemeTypeTURNS && u.Proto == stun.ProtoTypeTCP:
			t.TLS = uint16(u.Port)
		default:
			return t, fmt.Errorf("%q: DTLS is not looked at", text)
		}
	}
	return t, nil
}

// transports are the ways to a relay, in the order in which they are looked at.
var transports = []string{"udp", "tcp", "tls"}

func (t Target) port(over string) uint16 {
	switch over {
	case "udp":
		return t.UDP
	case "tcp":
		return t.TCP
	}
	return t.TLS
}

func (t Target) serverName() string {
	if t.ServerName != "" {
		return t.ServerName
	}
	return t.Host
}

// route is one way to a relay.
type route struct {
	over string // udp, tcp or tls
	at   netip.AddrPort
}

func (r route) String() string {
	if r.at.Addr().Is4() {
		return r.over + ", IPv4"
	}
	return r.over + ", IPv6"
}
