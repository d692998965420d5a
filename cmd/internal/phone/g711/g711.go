// Package g711 is the µ-law and A-law companding of ITU-T G.711: a 16-bit
// sample to a byte and back.
package g711

const (
	muBias = 0x84
	muClip = 32635
)

// EncodeMu compands a sample by µ-law.
func EncodeMu(s int16) byte {
	x, sign := int(s), byte(0)
	if x < 0 {
		x, sign = -x, 0x80
	}
	x = min(x, muClip) + muBias
	exp := 7
	for mask := 0x4000; x&mask == 0 && exp > 0; mask >>= 1 {
		exp--
	}
	mantissa := byte(x>>(exp+3)) & 0x0f
	return ^(sign | byte(exp)<<4 | mantissa)
}

// DecodeMu is the inverse of [EncodeMu], up to the loss of companding.
func DecodeMu(b byte) int16 {
	b = ^b
	x := (int(b&0x0f)<<3 + muBias) << (b >> 4 & 7)
	x -= muBias
	if b&0x80 != 0 {
		return int16(-x)
	}
	return int16(x)
}

// DecodeA expands a byte of A-law.
func DecodeA(b byte) int16 {
	b ^= 0x55
	x := int(b&0x0f)<<4 + 8
	if exp := b >> 4 & 7; exp > 0 {
		x = (x + 0x100) << (exp - 1)
	}
	if b&0x80 == 0 {
		return int16(-x)
	}
	return int16(x)
}
