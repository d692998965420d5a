package kernel

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestFragmentsOfPackets(t *testing.T) {
	part := func(id uint16, offset int, more bool, payload string) []byte {
		b := make([]byte, header4, header4+len(payload))
		b[0], b[9] = 4<<4|5, 17
		binary.BigEndian.PutUint16(b[2:], uint16(header4+len(payload)))
		binary.BigEndian.PutUint16(b[4:], id)
		bits := uint16(offset / 8)
		if more {
			bits |= 0x2000
		}
		binary.BigEndian.PutUint16(b[6:], bits)
		return append(b, payload...)
	}
	whole := part(1, 0, false, "01234567abcdefghxyz")
	for name, tt := range map[string]struct {
		parts [][]byte
		want  []byte
	}{
		"whole":             {[][]byte{whole}, whole},
		"three":             {[][]byte{part(1, 0, true, "01234567"), part(1, 8, true, "abcdefgh"), part(1, 16, false, "xyz")}, whole},
		"the first is gone": {[][]byte{part(1, 8, true, "abcdefgh"), part(1, 16, false, "xyz")}, nil},
		"one is missing":    {[][]byte{part(1, 0, true, "01234567"), part(1, 16, false, "xyz")}, nil},
		"of another packet": {[][]byte{part(2, 0, true, "01234567"), part(1, 8, false, "xyz")}, nil},
		"begun anew":        {[][]byte{part(2, 0, true, "01234567"), part(1, 0, true, "01234567"), part(1, 8, false, "abcdefghxyz")}, whole},
		"empty":             {[][]byte{part(1, 0, true, "")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var f fragments
			var got []byte
			for _, p := range tt.parts {
				got = f.add(p)
			}
			if !bytes.Equal(got, tt.want) {
				t.Errorf("got %x, want %x", got, tt.want)
			}
		})
	}
	t.Run("too much", func(t *testing.T) {
		var f fragments
		f.add(part(1, 0, true, string(make([]byte, 1480))))
		for offset := 1480; offset < 0xffff-1500; offset += 1480 {
			f.add(part(1, offset, true, string(make([]byte, 1480))))
		}
		if got := f.add(part(1, len(f.b)-header4, false, string(make([]byte, 4000)))); got != nil {
			t.Errorf("%d bytes", len(got))
		}
	})
}
