package relay_test

import (
	"encoding/binary"
	"net"
	"syscall"
	"testing"
	"time"
)

// RFC 8656 sections 13 to 16: fields of IP. The relay's process has the kernel's
// defaults for all packets, whatever those that it relays have; what the kernel relays keeps
// them (TestKernelKeepsFields).
func TestFieldsOfIP(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	control := func(t *testing.T, c *net.UDPConn, set func(fd int) error) {
		t.Helper()
		rc, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		rc.Control(func(fd uintptr) { err = set(int(fd)) })
		if err != nil {
			t.Fatal(err)
		}
	}
	r := s.caller(t, "udp")
	f, relayed := r.meet(t)
	r.bind(t, 0x4000, f.at())
	client := r.conn.(*net.UDPConn)
	for _, c := range []*net.UDPConn{client, f.UDPConn} {
		control(t, c, func(fd int) error {
			const ef, ttl = 46<<2 | 2, 7 // expedited forwarding and ECT(0); few hops
			for option, value := range map[int]int{syscall.IP_TOS: ef, syscall.IP_TTL: ttl, syscall.IP_RECVTOS: 1, syscall.IP_RECVTTL: 1} {
				if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, option, value); err != nil {
					return err
				}
			}
			return nil
		})
	}
	standard := 0
	control(t, newFar(t, "127.0.0.1").UDPConn, func(fd int) (err error) {
		standard, err = syscall.GetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_TTL)
		return err
	})
	fields := func(t *testing.T, c *net.UDPConn) (tos, ttl int) {
		t.Helper()
		oob := make([]byte, 256)
		c.SetReadDeadline(time.Now().Add(patience))
		_, n, _, _, err := c.ReadMsgUDP(make([]byte, 2048), oob)
		if err != nil {
			t.Fatal(err)
		}
		messages, err := syscall.ParseSocketControlMessage(oob[:n])
		if err != nil {
			t.Fatal(err)
		}
		tos, ttl = -1, -1
		for _, m := range messages {
			switch m.Header.Type {
			case syscall.IP_TOS:
				tos = int(m.Data[0])
			case syscall.IP_TTL:
				ttl = int(binary.NativeEndian.Uint32(m.Data))
			}
		}
		return tos, ttl
	}
	for _, test := range []struct {
		name string
		send func()
		to   *net.UDPConn
	}{
		{"to the peer, of ChannelData", func() { r.send(t, channelData(0x4000, []byte("data"))) }, f.UDPConn},
		{"to the peer, of a Send indication", func() { r.sendTo(t, f.at(), "data") }, f.UDPConn},
		{"to the client", func() { f.say(t, relayed, "data") }, client},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.send()
			if tos, ttl := fields(t, test.to); tos != 0 || ttl != standard {
				t.Errorf("TOS %#x, TTL %d; want 0 and %d", tos, ttl, standard)
			}
		})
	}
}
