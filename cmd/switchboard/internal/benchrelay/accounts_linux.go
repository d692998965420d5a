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
	// counted is how long a relay takes to count what the kernel has relayed.
	counted = 1200 * time.Millisecond
	// counting is how long it may take at most, on a busy machine.
	counting = 4 * time.Second
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

// begin opens an account of what the kernel relays: how much it has by now.
func (b *bench) begin() (byKernel int, err error) {
	b.delivered = 0
	if b.server.path == "" {
		return 0, nil
	}
	return b.byKernel()
}

// checkShare checks that the kernel has relayed at least a share of what was delivered
// since begin, where that is its task.
func (b *bench) checkShare(ctx context.Context, before int, least float64) error {
	if b.server.path != relay.DataPathEBPF {
		return nil
	}
	for deadline := time.Now().Add(counting); ; {
		n, err := b.byKernel()
		if err != nil {
			return err
		}
		if n -= before; float64(n) >= least*float64(b.delivered) {
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

// checkNone checks that the kernel has relayed nothing since begin, where it should not.
func (b *bench) checkNone(ctx context.Context, before int) error {
	if b.server.path == "" || b.server.path == relay.DataPathEBPF {
		return nil
	}
	if err := pause(ctx, counted); err != nil {
		return err
	}
	n, err := b.byKernel()
	if err == nil && n != before {
		err = fmt.Errorf("the kernel relayed %d packets, and should have relayed none", n-before)
	}
	return err
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
