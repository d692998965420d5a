package g711

import "testing"

// The reference values are those of ITU-T G.711 tables 2a and 1a.
func TestMu(t *testing.T) {
	for b, want := range map[byte]int16{0xff: 0, 0x7f: 0, 0x80: 32124, 0x00: -32124, 0xf0: 120, 0x70: -120, 0xef: 132} {
		if got := DecodeMu(b); got != want {
			t.Errorf("DecodeMu(%#x) = %d, want %d", b, got, want)
		}
	}
	for i := range 256 {
		b := byte(i)
		if got := EncodeMu(DecodeMu(b)); got != b && !(b == 0x7f && got == 0xff) {
			t.Errorf("%#x became %#x", b, got)
		}
	}
	if EncodeMu(32767) != 0x80 || EncodeMu(-32768) != 0x00 {
		t.Error("the loudest samples are not clipped")
	}
}

func TestA(t *testing.T) {
	for b, want := range map[byte]int16{0xd5: 8, 0x55: -8, 0xaa: 32256, 0x2a: -32256} {
		if got := DecodeA(b); got != want {
			t.Errorf("DecodeA(%#x) = %d, want %d", b, got, want)
		}
	}
}
