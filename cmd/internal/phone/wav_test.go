package phone

import (
	"math"
	"slices"
	"testing"

	"github.com/go-audio/audio"
)

func TestDownmix(t *testing.T) {
	// One second of 440 Hz, left and right of opposite loudness, at 44.1 kHz.
	const rate = 44100
	data := make([]int, 2*rate)
	for i := range rate {
		v := math.Sin(2 * math.Pi * 440 * float64(i) / rate)
		data[2*i], data[2*i+1] = int(20000*v), int(4000*v)
	}
	got := downmix(&audio.IntBuffer{Data: data, Format: &audio.Format{NumChannels: 2, SampleRate: rate}, SourceBitDepth: 16})
	if len(got) != sampleRate {
		t.Fatalf("%d samples, want %d", len(got), sampleRate)
	}
	at, all := goertzel(got, 440)
	if at/all < 0.95 {
		t.Errorf("%.2f of the energy is at 440 Hz", at/all)
	}
	if rms := math.Sqrt(all / sampleRate); rms < 7500 || rms > 9000 {
		t.Errorf("loudness %.0f, want about 8485", rms)
	}
}

// Samples of eight bits, alone, have no sign.
func TestDownmixOfEightBits(t *testing.T) {
	got := downmix(&audio.IntBuffer{Data: []int{128, 255, 0}, Format: &audio.Format{NumChannels: 1, SampleRate: sampleRate}, SourceBitDepth: 8})
	if want := []int16{0, 127 << 8, -128 << 8}; !slices.Equal(got, want) {
		t.Errorf("%d, want %d", got, want)
	}
}
