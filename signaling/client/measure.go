package client

import (
	"context"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"switchboard/signaling/protocol"
)

const (
	// measureAgain is how long a measurement is good before another is made, and
	// measuredFor how long at most it is told.
	measureAgain = time.Hour
	measuredFor  = 24 * time.Hour
	// measureAfter bounds the random wait before it, so that a storm of
	// reconnects is not followed by one of probes.
	measureAfter = 5 * time.Second
	// probes of a region, without the first, which opens the connection.
	probes       = 3
	probeTimeout = 3 * time.Second
)

// measured is what the client knows of regions. The client's mu guards it.
type measured struct {
	trips map[string]int // milliseconds by region
	begun time.Time      // when it was last measured
}

// told is what a hello says; mu must be held.
func (m *measured) told() map[string]int {
	if time.Since(m.begun) > measuredFor {
		return nil
	}
	return maps.Clone(m.trips)
}

// measure begins to measure the round trips to regions, if that is due.
func (c *Client) measure(regions []protocol.Region) {
	if c.options.Stay || len(regions) < 2 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.measured.begun.IsZero() && time.Since(c.measured.begun) < measureAgain {
		return
	}
	c.measured.begun = time.Now()
	c.aside.Go(func() {
		if !c.pause(rand.N(measureAfter)) {
			return
		}
		trips := c.roundTrips(regions[:min(len(regions), protocol.MaxRegions)])
		c.options.Log.Debug("measured", "regions", trips)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.measured.trips = trips
	})
}

// roundTrips measures one region after the other, so that they do not disturb
// each other. Those that do not answer are left out.
func (c *Client) roundTrips(regions []protocol.Region) map[string]int {
	h := c.options.prober()
	defer h.CloseIdleConnections()
	trips := map[string]int{}
	for _, r := range regions {
		var best time.Duration
		for i := range 1 + probes {
			d, ok := probe(c.ctx, h, r.Probe)
			if !ok {
				best = 0
				break
			}
			if i == 1 || i > 1 && d < best {
				best = d
			}
		}
		if best > 0 {
			trips[r.Name] = int(min((best+time.Millisecond/2)/time.Millisecond, protocol.MaxRoundTrip))
		}
	}
	return trips
}

// probe makes one round trip.
func probe(ctx context.Context, h *http.Client, url string) (time.Duration, bool) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil || r.URL.Scheme != "http" && r.URL.Scheme != "https" {
		return 0, false
	}
	begun := time.Now()
	resp, err := h.Do(r)
	if err != nil {
		return 0, false
	}
	took := max(time.Since(begun), 1)
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<10)
	resp.Body.Close()
	return took, resp.StatusCode == http.StatusNoContent // whatever else answers is no node
}

// prober makes requests the way in which the client connects.
func (o Options) prober() *http.Client {
	d := o.Dialer
	t := &http.Transport{
		DialContext: d.NetDialContext, DialTLSContext: d.NetDialTLSContext, Proxy: d.Proxy,
		MaxConnsPerHost: 1, TLSHandshakeTimeout: probeTimeout,
	}
	if d.TLSClientConfig != nil {
		t.TLSClientConfig = d.TLSClientConfig.Clone()
	}
	if t.DialContext == nil && d.NetDial != nil {
		t.DialContext = func(_ context.Context, network, address string) (net.Conn, error) { return d.NetDial(network, address) }
	}
	return &http.Client{
		Transport: t, Timeout: probeTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
