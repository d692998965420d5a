package emodel

import (
	"math"
	"testing"
	"time"
)

func TestMOS(t *testing.T) {
	ms := time.Millisecond
	for _, test := range []struct {
		name   string
		m      Measured
		r, mos float64
	}{
		{"nothing impaired but the coding", Measured{}, 92.6, 4.40},
		{"across an ocean", Measured{RoundTrip: 150 * ms, Jitter: 5 * ms}, 90.6, 4.36},
		{"1 % lost", Measured{Loss: 0.01, RoundTrip: 40 * ms}, 88.5, 4.30},
		{"5 % lost", Measured{Loss: 0.05, RoundTrip: 40 * ms}, 76.3, 3.87},
		{"20 % lost", Measured{Loss: 0.2, RoundTrip: 40 * ms}, 50.0, 2.58},
		{"by satellite", Measured{RoundTrip: 600 * ms, Jitter: 10 * ms}, 66.5, 3.43},
		{"all lost", Measured{Loss: 1}, 16.7, 1.16},
		{"more than all", Measured{Loss: 7, RoundTrip: time.Hour}, 0, 1},
		{"less than nothing", Measured{Loss: -1, RoundTrip: -time.Hour}, 93.2, 4.41},
	} {
		if r, mos := test.m.R(), test.m.MOS(); math.Abs(r-test.r) > 0.1 || math.Abs(mos-test.mos) > 0.01 {
			t.Errorf("%s: R %.1f, MOS %.2f, want %.1f, %.2f", test.name, r, mos, test.r, test.mos)
		}
	}
}

// What is worse never sounds better.
func TestWorseIsNotBetter(t *testing.T) {
	last := Measured{}.MOS()
	for i := range 100 {
		m := Measured{Loss: float64(i) / 100, RoundTrip: time.Duration(i) * 10 * time.Millisecond, Jitter: time.Duration(i) * time.Millisecond}
		if mos := m.MOS(); mos > last {
			t.Fatalf("%+v: %.3f after %.3f", m, mos, last)
		} else {
			last = mos
		}
	}
}
