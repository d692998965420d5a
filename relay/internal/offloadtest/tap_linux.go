package offloadtest

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	ethernetHeader = 14
	allProtocols   = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in the order of the network
)

// Tap sees the IP packets that come in at an end of a cable, and sends whatever a test wants
// from there. Of other goroutines than one it can be used to send alone.
type Tap struct {
	file     *os.File
	own, far net.HardwareAddr
	b        []byte
}

// Tap opens one at an end, towards the machine at the other end, until the test ends.
func (e End) Tap(t testing.TB, other End) *Tap {
	t.Helper()
	p := &Tap{b: make([]byte, 1<<16)}
	own, err := e.links.LinkByName(e.Device)
	if err != nil {
		t.Fatal(err)
	}
	far, err := other.links.LinkByName(other.Device)
	if err != nil {
		t.Fatal(err)
	}
	p.own, p.far = own.Attrs().HardwareAddr, far.Attrs().HardwareAddr
	if err := e.Do(func() error { return p.open(own.Attrs().Index) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.file.Close() })
	return p
}

func (p *Tap) open(device int) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	p.file = os.NewFile(uintptr(fd), "packets")
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: allProtocols, Ifindex: device}),
	)
}

// Send sends an IP packet to the other end.
func (p *Tap) Send(ip []byte) error { return p.SendTo(p.far, ip) }

// SendTo sends an IP packet in a frame for whom it is said to be for.
func (p *Tap) SendTo(to net.HardwareAddr, ip []byte) error {
	b := append(append(append([]byte(nil), to...), p.own...), 0x08, 0x00)
	if ip[0]>>4 == 6 {
		binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IPV6)
	}
	_, err := p.file.Write(append(b, ip...))
	return err
}

// Next returns the next IP packet that comes in, until it is the next time, or nil when none
// comes within a while.
func (p *Tap) Next(within time.Duration) ([]byte, error) {
	p.file.SetReadDeadline(time.Now().Add(within))
	for {
		n, err := p.file.Read(p.b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, nil
		case err != nil:
			return nil, err
		case n <= ethernetHeader:
			continue
		}
		switch binary.BigEndian.Uint16(p.b[12:]) {
		case unix.ETH_P_IP, unix.ETH_P_IPV6:
			return p.b[ethernetHeader:n], nil
		}
	}
}
