package phone

import (
	"fmt"
	"math"
	"os"
	"time"

	"github.com/go-audio/audio"
	"github.com/go-audio/wav"
)

// ToneHz is a tone that speech and noise are not.
const ToneHz = 440

// WriteTone writes a sine as a WAV file at 8 kHz.
func WriteTone(file string, hz float64, d time.Duration) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	data := make([]int, int(d.Seconds()*sampleRate))
	for i := range data {
		data[i] = int(12000 * math.Sin(2*math.Pi*hz*float64(i)/sampleRate))
	}
	e := wav.NewEncoder(f, sampleRate, 16, 1, 1)
	buf := &audio.IntBuffer{Data: data, Format: &audio.Format{NumChannels: 1, SampleRate: sampleRate}, SourceBitDepth: 16}
	if err := e.Write(buf); err != nil {
		return err
	}
	return e.Close()
}

// ToneShare is the share of a recording's energy that lies at a frequency, over
// the windows that are not silent. A recording with less than a second of sound
// is an error.
func ToneShare(file string, hz float64) (float64, error) {
	samples, err := readWAV(file)
	if err != nil {
		return 0, err
	}
	const window = sampleRate / 10
	var at, all float64
	loud := 0
	for w := 0; w+window <= len(samples); w += window {
		in, total := goertzel(samples[w:w+window], hz)
		if total/window < 100*100 {
			continue // silence
		}
		loud++
		at, all = at+in, all+total
	}
	if loud < 10 {
		return 0, fmt.Errorf("only %d tenths of a second of the recording have sound", loud)
	}
	return at / all, nil
}

// goertzel returns the energy of samples at a frequency, and in all.
func goertzel(samples []int16, hz float64) (at, all float64) {
	c := 2 * math.Cos(2*math.Pi*hz/sampleRate)
	var s1, s2 float64
	for _, v := range samples {
		x := float64(v)
		s1, s2 = x+c*s1-s2, s1
		all += x * x
	}
	n := float64(len(samples))
	return (s1*s1 + s2*s2 - c*s1*s2) * 2 / n, all
}
