package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"switchboard/relay"
)

const (
	// counting is how long a relay may take to count what the kernel has relayed.
	counting = 5 * time.Second
	// least is the share of packets that the kernel must have relayed of those that came
	// through, for a figure to be that of its path.
	least = 0.999
	// leastAtPeak is the same where it is tried with more than it can: what it leaves to
	// the process then is part of what is to be found.
	leastAtPeak = 0.99
)

// client asks a relay at its address for profiles and metrics.
func (b *bench) client() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (conn net.Conn, err error) {
			err = b.cable.relay.space.do(func() error {
				conn, err = net.DialTimeout("tcp4", b.server.ops, 10*time.Second)
				return err
			})
			return conn, err
		},
	}}
}

// byKernel is how many packets the kernel has relayed, as the relay says.
func (b *bench) byKernel() (n int, err error) {
	resp, err := b.client().Get("http://" + b.server.ops + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	found := 0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if !strings.HasPrefix(name, "switchboard_relay_offload_packets_total{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metrics: %w", err)
		}
		n, found = n+int(v), found+1
	}
	if found == 0 {
		return 0, fmt.Errorf("metrics: no offload_packets_total (%s)", resp.Status)
	}
	return n, nil
}

// account is what the relay has said before something is measured.
type account struct{ byKernel int }

// begin opens an account.
func (b *bench) begin() (a account, err error) {
	b.delivered = 0
	if b.server.path != "" {
		a.byKernel, err = b.byKernel()
	}
	return a, err
}

// checkWay checks that what was delivered since then went the way that is measured: that the
// kernel relayed at least a share of it, or nothing.
func (b *bench) checkWay(ctx context.Context, a account, least float64) error {
	if b.server.path == "" {
		return nil
	}
	if b.server.path != relay.DataPathEBPF { // what it has done is counted within a second
		if err := pause(ctx, 1200*time.Millisecond); err != nil {
			return err
		}
		n, err := b.byKernel()
		if err == nil && n != a.byKernel {
			err = fmt.Errorf("the kernel relayed %d packets, and should have relayed none", n-a.byKernel)
		}
		return err
	}
	for deadline := time.Now().Add(counting); ; {
		n, err := b.byKernel()
		if err != nil {
			return err
		}
		if n -= a.byKernel; float64(n) >= least*float64(b.delivered) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("of %d packets that came through the kernel relayed %d, so that this is not what its path costs", b.delivered, n)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// pause waits, if nobody has asked to stop.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return errInterrupted
	case <-time.After(d):
		return nil
	}
}
