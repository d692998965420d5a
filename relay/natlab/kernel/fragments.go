package kernel

import (
	"bytes"
	"encoding/binary"
)

// fragments puts IPv4 fragments together that come one after the other, as the kernel sends
// them: conntrack has had it wait for all of a packet. The packet it keeps is at most 64 KiB.
type fragments struct {
	b []byte // the packet as far as it is there
}

// add returns a whole packet: the one it is given if that is none in part, or the one that it
// completes, or nil.
func (f *fragments) add(b []byte) []byte {
	if len(b) < header4 || b[0]>>4 != 4 {
		return b
	}
	bits := binary.BigEndian.Uint16(b[6:])
	offset, more := int(bits&0x1fff)*8, bits&0x2000 != 0
	at := int(b[0]&15) * 4
	switch {
	case offset == 0 && !more:
		return b
	case at < header4 || len(b) <= at:
		return nil
	case offset == 0:
		f.b = append(f.b[:0], b...)
		return nil
	case !f.continued(b, offset):
		f.b = f.b[:0]
		return nil
	}
	f.b = append(f.b, b[at:]...)
	if more {
		return nil
	}
	whole := bytes.Clone(f.b)
	f.b = f.b[:0]
	binary.BigEndian.PutUint16(whole[2:], uint16(len(whole)))
	whole[6], whole[7] = 0, 0
	return whole // its checksum is made anew with its addresses
}

// continued is whether a fragment is the next of the packet.
func (f *fragments) continued(b []byte, offset int) bool {
	if len(f.b) < header4 {
		return false
	}
	at := int(f.b[0]&15) * 4
	same := bytes.Equal(f.b[4:6], b[4:6]) && f.b[9] == b[9] && bytes.Equal(f.b[12:20], b[12:20])
	return same && offset == len(f.b)-at && len(f.b)+len(b) <= 0xffff
}
