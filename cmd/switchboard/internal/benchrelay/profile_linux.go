package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// profiled is how long a profile is taken, in seconds.
const profiled = 3

// profile writes a CPU profile of a server while it serves at the rate at which the cost
// of a packet is measured.
func (b *bench) profile(ctx context.Context, o *options, s *server, l *load) error {
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (conn net.Conn, err error) {
			err = b.cable.relay.space.do(func() error {
				conn, err = net.DialTimeout("tcp4", s.ops, 10*time.Second)
				return err
			})
			return conn, err
		},
	}}
	got := make(chan error, 1)
	go func() {
		got <- func() error {
			resp, err := client.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.ops, profiled))
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
	_, err := b.probe(ctx, s, l, o.rate, (profiled+1)*time.Second)
	if e := <-got; err == nil {
		err = e
	}
	return err
}
