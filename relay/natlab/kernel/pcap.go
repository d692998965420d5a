package kernel

import (
	"encoding/binary"
	"io"
	"time"
)

// snapshot is how much of a packet a capture keeps.
const snapshot = 1 << 16

// pcapHeader is what a capture begins with: microseconds, packets with a header of the
// cooked kind, version 2, which says on which interface and in which direction
// (LINKTYPE_LINUX_SLL2).
func pcapHeader() []byte {
	const linkType = 276
	b := binary.NativeEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = binary.NativeEndian.AppendUint16(b, 2)
	b = binary.NativeEndian.AppendUint16(b, 4)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint32(b, cookedHeader+snapshot)
	return binary.NativeEndian.AppendUint32(b, linkType)
}

const cookedHeader = 20

// captured is a packet as a socket of packet(7) gives it.
type captured struct {
	at       time.Time
	protocol uint16 // of Ethernet
	index    int    // of the interface
	hardware uint16 // its kind (ARPHRD)
	kind     uint8  // to whom: PACKET_HOST to PACKET_OUTGOING
	address  []byte // of the link, at most 8 bytes
	length   int
	b        []byte // from the IP header on, at most length
}

// write writes the packet as part of a capture.
func (c captured) write(w io.Writer) error {
	b := make([]byte, 0, 16+cookedHeader+len(c.b))
	b = binary.NativeEndian.AppendUint32(b, uint32(c.at.Unix()))
	b = binary.NativeEndian.AppendUint32(b, uint32(c.at.Nanosecond()/1000))
	b = binary.NativeEndian.AppendUint32(b, uint32(cookedHeader+len(c.b)))
	b = binary.NativeEndian.AppendUint32(b, uint32(cookedHeader+c.length))
	b = binary.BigEndian.AppendUint16(b, c.protocol)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(c.index))
	b = binary.BigEndian.AppendUint16(b, c.hardware)
	b = append(b, c.kind, uint8(min(len(c.address), 8)))
	var address [8]byte
	copy(address[:], c.address)
	b = append(b, address[:]...)
	_, err := w.Write(append(b, c.b...))
	return err
}
