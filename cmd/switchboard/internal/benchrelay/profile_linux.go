package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// profiled is how long a profile is taken, in seconds.
const profiled = 3

// profile writes a CPU profile of a server while it serves at the rate at which the cost
// of a packet is measured.
func (b *bench) profile(ctx context.Context, o *options, flows []*flow, l *load) error {
	if err := deaf(flows, true); err != nil {
		return err
	}
	defer deaf(flows, false)
	got := make(chan error, 1)
	go func() {
		got <- func() error {
			resp, err := b.client().Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", b.server.ops, profiled))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("profile: %s", resp.Status)
			}
			file, err := os.Create(o.profile)
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = io.Copy(file, resp.Body)
			return err
		}()
	}()
	_, err := b.probe(ctx, l, o.rate, (profiled+1)*time.Second)
	if e := <-got; err == nil {
		err = e
	}
	return err
}
