package phone

import (
	"fmt"
	"os"

	"github.com/go-audio/audio"
	"github.com/go-audio/wav"
)

// maxPlay bounds what is read of a file, in samples: half an hour.
const maxPlay = 30 * 60 * 48000 * 2

// readWAV reads a PCM file as one channel at 8 kHz.
func readWAV(file string) ([]int16, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > maxPlay*2 {
		return nil, fmt.Errorf("%s is longer than half an hour", file)
	}
	d := wav.NewDecoder(f)
	if !d.IsValidFile() || d.WavAudioFormat != 1 {
		return nil, fmt.Errorf("%s is no WAV file with PCM sound", file)
	}
	buf, err := d.FullPCMBuffer()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if buf.Format.SampleRate < sampleRate || buf.Format.NumChannels < 1 {
		return nil, fmt.Errorf("%s: fewer than %d samples a second", file, sampleRate)
	}
	return downmix(buf), nil
}

// downmix takes the mean of the channels, and of the samples that fall into
// one at 8 kHz.
func downmix(b *audio.IntBuffer) []int16 {
	ch, rate := b.Format.NumChannels, b.Format.SampleRate
	sample := func(v int) int { return v >> max(b.SourceBitDepth-16, 0) }
	if b.SourceBitDepth == 8 { // alone without a sign
		sample = func(v int) int { return (v - 128) << 8 }
	}
	frames := len(b.Data) / ch
	out := make([]int16, frames*sampleRate/rate)
	for i := range out {
		from, to := i*rate/sampleRate, max((i+1)*rate/sampleRate, i*rate/sampleRate+1)
		sum, n := 0, 0
		for _, v := range b.Data[from*ch : min(to, frames)*ch] {
			sum += sample(v)
			n++
		}
		out[i] = int16(sum / max(n, 1))
	}
	return out
}
