package client

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/signaling/protocol"
)

// Options say how to connect. URL and Token are required.
type Options struct {
	// URL is the server's: https://host or http://host, or the same with wss
	// and ws.
	URL string
	// Others are further URLs of the same service, as of its other nodes. One
	// that does not welcome the client, or serves no longer, is followed by the
	// next, at once and round and round with a wait after each; the one that does
	// is kept.
	Others []string
	Token  string
	// Name is the program and its version, for operators.
	Name string
	// Away asks for a session beside the device's own; see protocol.Hello.
	Away bool
	// Stay keeps the client at URL and Others. Otherwise it measures how far the server's
	// regions are, in the background and at most once an hour, and connects to
	// the node that the server names: one nearer, when nothing is going on, and
	// the one that takes over when a node stops. Should that not answer, it is
	// back at those.
	Stay bool
	// RoundTrips are what this device has measured before, as in an earlier run of the
	// program, in milliseconds by the names of regions, at most 32. They are told from
	// the first connection on and count as measured now; nil measures anew.
	RoundTrips map[string]int
	// Dialer makes connections; nil is websocket.DefaultDialer's settings.
	Dialer *websocket.Dialer
	// MinBackoff and MaxBackoff bound the wait before a reconnect, which is
	// random between nothing and a bound that doubles. Zero means 250 ms and
	// 15 s.
	MinBackoff, MaxBackoff time.Duration
	// Log receives what a developer would want to know, at debug level; nil
	// discards it.
	Log *slog.Logger
}

func (o Options) complete() (Options, error) {
	u, err := socketURL(o.URL)
	if err != nil {
		return o, err
	}
	o.URL = u
	o.Others = slices.Clone(o.Others)
	for i, other := range o.Others {
		if o.Others[i], err = socketURL(other); err != nil {
			return o, err
		}
	}
	if o.Token == "" {
		return o, errors.New("client: no token")
	}
	if err := checkTrips(o.RoundTrips); err != nil {
		return o, err
	}
	o.RoundTrips = maps.Clone(o.RoundTrips)
	if o.MinBackoff <= 0 {
		o.MinBackoff = 250 * time.Millisecond
	}
	if o.MaxBackoff < o.MinBackoff {
		o.MaxBackoff = max(15*time.Second, o.MinBackoff)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	if o.Dialer != nil {
		d = *o.Dialer
	}
	d.Subprotocols = []string{protocol.Subprotocol}
	o.Dialer = &d
	return o, nil
}

// checkTrips wants what a server takes.
func checkTrips(trips map[string]int) error {
	if len(trips) > protocol.MaxRegions {
		return fmt.Errorf("client: round trips of %d regions, at most %d", len(trips), protocol.MaxRegions)
	}
	for name, ms := range trips {
		if name == "" || len(name) > protocol.MaxRegionName || ms < 0 || ms > protocol.MaxRoundTrip {
			return fmt.Errorf("client: the round trip %q: %d is not a region and 0 to %d ms", name, ms, protocol.MaxRoundTrip)
		}
	}
	return nil
}

var errURL = errors.New("client: the server's URL must be http, https, ws or wss, with a host and no path")

// socketURL is where sessions of a server are.
func socketURL(server string) (string, error) {
	u, err := baseURL(server)
	if err != nil {
		return "", err
	}
	u.Scheme = map[string]string{"http": "ws", "https": "wss"}[u.Scheme]
	u.Path = protocol.SocketPath
	return u.String(), nil
}

// baseURL is the server's as http or https.
func baseURL(server string) (*url.URL, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" {
		return nil, errURL
	}
	scheme, ok := map[string]string{"http": "http", "ws": "http", "https": "https", "wss": "https"}[u.Scheme]
	if !ok {
		return nil, errURL
	}
	return &url.URL{Scheme: scheme, Host: u.Host}, nil
}
