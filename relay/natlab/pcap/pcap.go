// Package pcap writes what happens to packets of a natlab.World to files that tcpdump and
// Wireshark read: the classic format with times in nanoseconds and raw IP packets, whose
// headers are made up around what the world knows.
package pcap

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/nat"
)

// The file's header: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html
const (
	magic      = 0xa1b23c4d // nanoseconds
	linkRaw    = 101        // IPv4 or IPv6 without a link's header
	maxCapture = 1 << 17
)

// Writer writes packets. One goroutine at a time may use it.
type Writer struct {
	w   io.Writer
	buf []byte
}

// NewWriter writes the file's header to w.
func NewWriter(w io.Writer) (*Writer, error) {
	var h []byte
	h = binary.BigEndian.AppendUint32(h, magic)
	h = binary.BigEndian.AppendUint16(h, 2)
	h = binary.BigEndian.AppendUint16(h, 4)
	h = append(h, make([]byte, 8)...)
	h = binary.BigEndian.AppendUint32(h, maxCapture)
	h = binary.BigEndian.AppendUint32(h, linkRaw)
	if _, err := w.Write(h); err != nil {
		return nil, fmt.Errorf("pcap: write header: %w", err)
	}
	return &Writer{w: w}, nil
}

// Write adds a packet, with the headers that it has at its place.
func (w *Writer) Write(p natlab.Packet) error {
	const record = 16
	b := append(w.buf[:0], make([]byte, record)...)
	b = appendIP(b, p)
	binary.BigEndian.PutUint32(b[0:], uint32(p.At.Unix()))
	binary.BigEndian.PutUint32(b[4:], uint32(p.At.Nanosecond()))
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-record))
	binary.BigEndian.PutUint32(b[12:], uint32(len(b)-record))
	w.buf = b
	if _, err := w.w.Write(b); err != nil {
		return fmt.Errorf("pcap: write packet: %w", err)
	}
	return nil
}

// appendIP appends the packet with its IP header (RFC 791 section 3.1, RFC 8200 section 3).
func appendIP(b []byte, p natlab.Packet) []byte {
	start := len(b)
	if p.Dst.Addr().Is4() {
		b = append(b, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, byte(p.Proto), 0, 0) // may not be fragmented
		b = append(b, p.Src.Addr().AsSlice()...)
		b = append(b, p.Dst.Addr().AsSlice()...)
		b = appendTransport(b, p)
		h := b[start:]
		binary.BigEndian.PutUint16(h[2:], uint16(len(h)))
		binary.BigEndian.PutUint16(h[10:], ^sum(0, h[:20]))
		return b
	}
	b = append(b, 0x60, 0, 0, 0, 0, 0, byte(p.Proto), 64)
	b = append(b, p.Src.Addr().AsSlice()...)
	b = append(b, p.Dst.Addr().AsSlice()...)
	b = appendTransport(b, p)
	binary.BigEndian.PutUint16(b[start+4:], uint16(len(b)-start-40))
	return b
}

// appendTransport appends the UDP (RFC 768) or TCP header (RFC 9293 section 3.1), and the
// payload.
func appendTransport(b []byte, p natlab.Packet) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, p.Src.Port())
	b = binary.BigEndian.AppendUint16(b, p.Dst.Port())
	at := 6 // of the checksum
	if p.Proto == nat.TCP {
		at = 16
		b = binary.BigEndian.AppendUint32(b, p.Seq)
		b = binary.BigEndian.AppendUint32(b, p.Ack)
		b = append(b, 5<<4, byte(p.Flags))
		b = binary.BigEndian.AppendUint16(b, uint16(min(p.Window, 0xffff))) // the world's is larger, without an option
		b = append(b, 0, 0, 0, 0)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(p.Payload)))
		b = append(b, 0, 0)
	}
	b = append(b, p.Payload...)
	check := ^sum(pseudo(p, len(b)-start), b[start:])
	if check == 0 && p.Proto == nat.UDP {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(b[start+at:], check)
	return b
}

// pseudo is the sum of the pseudo-header.
func pseudo(p natlab.Packet, length int) uint16 {
	s := sum(uint16(p.Proto), p.Src.Addr().AsSlice())
	s = sum(s, p.Dst.Addr().AsSlice())
	return sum(s, binary.BigEndian.AppendUint32(nil, uint32(length)))
}

// sum is the ones' complement sum (RFC 1071), from one so far on.
func sum(s uint16, b []byte) uint16 {
	total := uint32(s)
	for ; len(b) > 1; b = b[2:] {
		total += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		total += uint32(b[0]) << 8
	}
	for total > 0xffff {
		total = total&0xffff + total>>16
	}
	return uint16(total)
}

// Capture is a file being written.
type Capture struct {
	stop func()
	out  *bufio.Writer

	mu  sync.Mutex
	err error // the first; guarded by mu
}

// Start writes to out what a node sends and receives until Close, also packets that arrive
// and that nobody listens for: those of a host, or those that a router has forwarded. With
// node "", it is what all hosts send.
func Start(w *natlab.World, node string, out io.Writer) (*Capture, error) {
	c := &Capture{out: bufio.NewWriterSize(out, 1<<16)}
	pw, err := NewWriter(c.out)
	if err != nil {
		return nil, err
	}
	c.stop = w.Trace(func(p natlab.Packet) {
		if p.Node != node && (node != "" || p.What != natlab.Sent) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err == nil {
			c.err = pw.Write(p)
		}
	})
	return c, nil
}

// Close ends the capture and returns the first error of writing it.
func (c *Capture) Close() error {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if err := c.out.Flush(); err != nil {
		return fmt.Errorf("pcap: %w", err)
	}
	return nil
}
