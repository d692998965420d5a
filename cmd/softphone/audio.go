package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-audio/audio"
	"github.com/go-audio/wav"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"switchboard/cmd/softphone/internal/g711"
)

const (
	sampleRate = 8000
	frameFor   = 20 * time.Millisecond
	frameLen   = int(sampleRate * frameFor / time.Second)
)

// player sends a sound, and after its end silence, as µ-law.
type player struct {
	track   *webrtc.TrackLocalStaticSample
	samples []int16
	packets atomic.Uint64
	ended   chan struct{}
	done    sync.WaitGroup
	once    sync.Once
}

// newPlayer reads the file, if there is one. It sends nothing before
// [player.start].
func newPlayer(file string) (*player, error) {
	p := &player{ended: make(chan struct{})}
	var err error
	if file != "" {
		if p.samples, err = readWAV(file); err != nil {
			return nil, fmt.Errorf("play: %w", err)
		}
	}
	p.track, err = webrtc.NewTrackLocalStaticSample(
		webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: sampleRate}, "audio", "softphone")
	return p, err
}

// start begins to send, a frame every 20 ms, until [player.stop].
func (p *player) start() {
	p.once.Do(func() { p.done.Go(p.run) })
}

func (p *player) run() {
	tick := time.NewTicker(frameFor)
	defer tick.Stop()
	rest := p.samples
	frame := make([]byte, frameLen)
	for {
		select {
		case <-p.ended:
			return
		case <-tick.C:
		}
		for i := range frame {
			frame[i] = g711.EncodeMu(0)
			if i < len(rest) {
				frame[i] = g711.EncodeMu(rest[i])
			}
		}
		rest = rest[min(len(rest), frameLen):]
		if err := p.track.WriteSample(media.Sample{Data: frame, Duration: frameFor}); err == nil {
			p.packets.Add(1)
		}
	}
}

func (p *player) stop() {
	close(p.ended)
	p.done.Wait()
}

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

// listener takes what comes: it counts, and records sound.
type listener struct {
	mu      sync.Mutex
	first   time.Time // when the first sound came
	packets uint64
	lost    uint64
	gap     time.Duration // the longest without sound, between two packets
	jitter  float64       // RFC 3550 §6.4.1, in samples
	frames  uint64        // of video
	seq     sequence
	file    *os.File
	enc     *wav.Encoder
	early   []heardFrame // not yet in the file, by timestamp
	next    uint32       // timestamp of the next sample in the file
	begun   bool
	last    time.Time
	lastTS  uint32
}

func newListener(record string) (*listener, error) {
	l := &listener{}
	if record == "" {
		return l, nil
	}
	f, err := os.Create(record)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	l.file, l.enc = f, wav.NewEncoder(f, sampleRate, 16, 1, 1)
	return l, nil
}

// take reads a track until it ends.
func (l *listener) take(t *webrtc.TrackRemote) {
	for {
		p, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		if t.Kind() == webrtc.RTPCodecTypeVideo {
			l.picture(p)
			continue
		}
		decode := g711.DecodeMu
		if t.Codec().MimeType == webrtc.MimeTypePCMA {
			decode = g711.DecodeA
		}
		l.sound(p, decode)
	}
}

func (l *listener) picture(p *rtp.Packet) {
	if p.Marker {
		l.mu.Lock()
		l.frames++
		l.mu.Unlock()
	}
}

func (l *listener) sound(p *rtp.Packet, decode func(byte) int16) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.packets++; l.packets == 1 {
		l.first = now
	} else {
		l.gap = max(l.gap, now.Sub(l.last))
		d := now.Sub(l.last).Seconds()*sampleRate - float64(int32(p.Timestamp-l.lastTS))
		l.jitter += (max(d, -d) - l.jitter) / 16
	}
	l.last, l.lastTS = now, p.Timestamp
	l.lost = l.seq.saw(p.SequenceNumber)
	if l.enc != nil {
		l.put(p, decode)
	}
}

// heardFrame is the sound of one packet.
type heardFrame struct {
	at      uint32
	samples []int
}

// reorder is how many packets wait for those that they have overtaken.
const reorder = 5

// put takes a packet for the recording.
func (l *listener) put(p *rtp.Packet, decode func(byte) int16) {
	f := heardFrame{p.Timestamp, make([]int, 0, len(p.Payload))}
	for _, b := range p.Payload {
		f.samples = append(f.samples, int(decode(b)))
	}
	i := len(l.early)
	for i > 0 && int32(l.early[i-1].at-f.at) > 0 {
		i--
	}
	if l.early = slices.Insert(l.early, i, f); len(l.early) > reorder {
		l.write(l.early[0])
		l.early = slices.Delete(l.early, 0, 1)
	}
}

// maxGap bounds how much silence one jump of timestamps can put into the
// recording: more is a sender that began anew.
const maxGap = 10 * sampleRate

// write puts sound where its timestamp says; what was lost is silence, what
// comes later than reorder packets is left out.
func (l *listener) write(f heardFrame) {
	gap := int32(f.at - l.next)
	if !l.begun || gap > maxGap || gap < -maxGap {
		l.begun, gap = true, 0
		l.next = f.at
	}
	if gap < 0 {
		return
	}
	data := append(make([]int, int(gap), int(gap)+len(f.samples)), f.samples...)
	err := l.enc.Write(&audio.IntBuffer{Data: data, Format: &audio.Format{NumChannels: 1, SampleRate: sampleRate}, SourceBitDepth: 16})
	if err == nil {
		l.next = f.at + uint32(len(f.samples))
	}
}

func (l *listener) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.enc == nil {
		return nil
	}
	for _, f := range l.early {
		l.write(f)
	}
	err := errors.Join(l.enc.Close(), l.file.Close())
	l.enc = nil
	return err
}

// sequence counts the numbers that are missing between the first and the
// highest that came (RFC 3550 appendix A.3).
type sequence struct {
	begun bool
	base  uint64
	high  uint64
	came  uint64
}

func (s *sequence) saw(n uint16) (lost uint64) {
	if !s.begun {
		s.begun, s.base = true, 1<<16+uint64(n)
		s.high = s.base
	}
	ext := s.high&^0xffff | uint64(n)
	if int16(n-uint16(s.high)) > 0 && ext < s.high {
		ext += 1 << 16
	}
	if int16(n-uint16(s.high)) < 0 && ext > s.high {
		ext -= 1 << 16
	}
	s.high = max(s.high, ext)
	s.came++
	if expected := s.high - s.base + 1; expected > s.came {
		return expected - s.came
	}
	return 0
}
