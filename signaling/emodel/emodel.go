// Package emodel estimates how a call sounded from what was measured of it, after the
// E-model of ITU-T G.107, simplified: what is not measured has one value for all
// calls. It is a pure function, and an estimate: nobody has listened. Its figures are
// for comparing calls with each other, not with those of other programs.
package emodel

import "time"

// Measured is what the receiving side of a call knows.
type Measured struct {
	// Loss is the share of packets that did not come, 0 to 1.
	Loss float64
	// RoundTrip is that of the path, Jitter that of the arrival (RFC 3550 §6.4.1).
	RoundTrip, Jitter time.Duration
}

const (
	// basic is R with nothing impaired.
	basic = 93.2
	// robustness is how well a codec with concealment bears random loss (Bpl), about
	// that of G.711. Opus is taken to be no worse.
	robustness = 25.1
	// coding is the delay of packets of 20 ms and of a decoder.
	coding = 25 * time.Millisecond
)

// R is the transmission rating, 0 (useless) to 93.2.
func (m Measured) R() float64 {
	loss := 100 * min(max(m.Loss, 0), 1)
	// One way, and as long in a jitter buffer as packets are apart from even.
	delay := float64((m.RoundTrip/2 + 2*m.Jitter + coding) / time.Millisecond)
	r := basic - 95*loss/(loss+robustness) - 0.024*delay
	if late := delay - 177.3; late > 0 {
		r -= 0.11 * late
	}
	return min(max(r, 0), basic)
}

// MOS is the mean opinion score that R stands for, 1 (bad) to 4.4.
func (m Measured) MOS() float64 {
	r := m.R()
	return max(1, 1+0.035*r+r*(r-60)*(100-r)*7e-6)
}
