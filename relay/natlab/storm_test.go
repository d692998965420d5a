package natlab_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/relay/natlab"
)

// Connections through a NAT are cut, lossy, closed and reset at random times: what one end
// reads is always the beginning of what the other wrote, all ends end, and where nothing
// went wrong, all of it arrived.
func TestTCPStorm(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			w, err := natlab.Build(seed, natlab.Topology{
				Networks: map[string]natlab.NetworkSpec{"home": {Link: natlab.Link{
					Delay: time.Duration(r.IntN(50)) * time.Millisecond, Jitter: time.Duration(r.IntN(30)) * time.Millisecond,
					Loss: 0.05 * r.Float64(), Burst: 4 * r.Float64(), Rate: int64(r.IntN(2)) * 20_000_000,
				}}},
				Routers: map[string]natlab.RouterSpec{"box": {Inside: "home", Outside: natlab.Internet, NAT: &natlab.NAT{Ports: natlab.Ports(r.IntN(3))}}},
				Hosts:   map[string]natlab.HostSpec{"phone": {Networks: []string{"home"}}, "server": {Networks: []string{natlab.Internet}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			calm := seed%2 == 0
			var ends sync.WaitGroup
			for range 5 {
				a, b := connect(t, w.Host("phone"), w.Host("server"))
				data := make([]byte, r.IntN(300_000))
				for i := range data {
					data[i] = byte(r.Uint32())
				}
				for _, dir := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
					pauses := rand.New(rand.NewPCG(seed, r.Uint64()))
					ends.Go(func() { writeAll(dir[0], data, pauses, calm) })
					ends.Go(func() {
						got, err := io.ReadAll(dir[1])
						if !bytes.HasPrefix(data, got) {
							t.Errorf("seed %d: %d bytes that were not sent", seed, len(got))
						}
						if calm && (err != nil || len(got) != len(data)) {
							t.Errorf("seed %d: %d of %d bytes, %v", seed, len(got), len(data), err)
						}
						if !calm {
							dir[1].Close()
						}
					})
				}
			}
			if !calm {
				time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
				w.Network("home").Cut()
				time.Sleep(time.Duration(r.IntN(20_000)) * time.Millisecond)
				w.Network("home").Restore()
				w.Router("box").Reboot()
			}
			ends.Wait()
		})
	}
}

// writeAll writes data in pieces and says that it was all; without calm, it may stop with a
// bang before.
func writeAll(c io.WriteCloser, data []byte, r *rand.Rand, calm bool) {
	for len(data) > 0 {
		n := min(1+r.IntN(20_000), len(data))
		if _, err := c.Write(data[:n]); err != nil {
			return
		}
		data = data[n:]
		if r.IntN(4) == 0 {
			time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
		}
		if !calm && r.IntN(100) == 0 {
			c.Close()
			return
		}
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
}
