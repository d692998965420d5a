//go:build linux && !386

package relay_test

import (
	"net"
	"testing"

	"switchboard/relay"
)

// A socket that nobody reads drops what does not fit; the kernel's counts say so.
func TestKernelDrops(t *testing.T) {
	s := start(t, nil)
	if n := s.count(t, "kernel_drops_total", "listener"); n != 0 {
		t.Errorf("a listener that was sent nothing has dropped %v", n)
	}
	before := s.count(t, "kernel_drops_total", "udp_rcvbuf")
	full, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := full.SetReadBuffer(1); err != nil { // the kernel has a least
		t.Fatal(err)
	}
	relay.WatchDrops(s.Server, full)
	conn, err := net.DialUDP("udp", nil, full.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 100 {
		if _, err := conn.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	dropped := s.count(t, "kernel_drops_total", "listener")
	if dropped < 50 || dropped > 100 {
		t.Errorf("%v of 100 packets were dropped", dropped)
	}
	eventually(t, "the namespace counts them, too", func() bool { return s.count(t, "kernel_drops_total", "udp_rcvbuf")-before >= dropped })
	full.Close()
	if n := s.count(t, "kernel_drops_total", "listener"); n != dropped {
		t.Errorf("%v after the socket is closed, want %v", n, dropped)
	}
	for _, reason := range []string{"udp_sndbuf", "udp_csum", "softnet"} {
		s.count(t, "kernel_drops_total", reason) // exists
	}
	s.count(t, "kernel_squeezed_total", "")
}
