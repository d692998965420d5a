package kernel

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Capture writes the packets of all interfaces of a host, router or network to a file, for
// Wireshark and `tcpdump -r`, until ctx ends, stop is called or the lab is closed. A router's
// packets are there once on each side of it. stop returns what kept it from writing them
// all; the packets that the kernel has dropped, because the reader was late, are no error.
func (l *Lab) Capture(ctx context.Context, name, file string) (stop func() error, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	s, err := l.space(name)
	if err != nil {
		return nil, err
	}
	c, err := openCapture(s, file)
	if err != nil {
		return nil, fmt.Errorf("capture on %q: %w", name, err)
	}
	// Whichever ends first has the socket closed; the reader then ends.
	halts := []func() bool{context.AfterFunc(ctx, c.halt), context.AfterFunc(l.ended, c.halt)}
	ended := make(chan struct{})
	l.running.Go(func() {
		defer close(ended)
		c.read()
		for _, halt := range halts {
			halt()
		}
	})
	return func() error {
		c.halt()
		<-ended
		return c.err
	}, nil
}

// capture is one that runs.
type capture struct {
	socket *os.File
	file   *os.File
	halt   func()
	err    error // of read
}

func openCapture(s *space, file string) (*capture, error) {
	c := &capture{}
	err := s.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(networkOrder(unix.ETH_P_ALL)))
		if err != nil {
			return err
		}
		const buffer = 8 << 20 // of what comes while the machine is busy with other things
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		c.socket = os.NewFile(uintptr(fd), "packets")
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.halt = sync.OnceFunc(func() { c.socket.SetReadDeadline(time.Unix(1, 0)) })
	if c.file, err = os.Create(file); err != nil {
		return nil, errors.Join(err, c.socket.Close())
	}
	return c, nil
}

// read writes packets until the capture is halted, and what is still there then.
func (c *capture) read() {
	w := bufio.NewWriterSize(c.file, 1<<16)
	_, c.err = w.Write(pcapHeader())
	conn, err := c.socket.SyscallConn()
	if err != nil {
		c.err = err
	}
	b := make([]byte, snapshot)
	oob := make([]byte, 128)
	one := func(fd uintptr) bool {
		n, oobn, _, from, err := unix.Recvmsg(int(fd), b, oob, unix.MSG_TRUNC)
		if errors.Is(err, unix.EAGAIN) {
			return false
		}
		if at, ok := from.(*unix.SockaddrLinklayer); ok && err == nil {
			c.err = errors.Join(c.err, packetOf(at, b, n, oob[:oobn]).write(w))
		}
		return true
	}
	for c.err == nil {
		if err := conn.Read(one); err != nil {
			break
		}
	}
	conn.Control(func(fd uintptr) {
		for c.err == nil && one(fd) {
		}
	})
	c.err = errors.Join(c.err, w.Flush(), c.file.Close(), c.socket.Close())
}

// packetOf is what recvmsg gave.
func packetOf(at *unix.SockaddrLinklayer, b []byte, n int, oob []byte) captured {
	p := captured{
		at:       stamp(oob),
		protocol: networkOrder(at.Protocol),
		index:    at.Ifindex,
		hardware: at.Hatype,
		kind:     at.Pkttype,
		address:  at.Addr[:min(int(at.Halen), len(at.Addr))],
		length:   n,
		b:        b[:min(n, len(b))],
	}
	return p
}

// stamp is when the kernel got the packet.
func stamp(oob []byte) time.Time {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return time.Now()
}

// networkOrder swaps the bytes of a number unless the machine has them so.
func networkOrder(n uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, n))
}
