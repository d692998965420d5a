package phone

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-audio/audio"
	"github.com/go-audio/wav"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"switchboard/cmd/internal/phone/g711"
)

// listener takes what comes: it counts, and records sound.
type listener struct {
	began func(time.Time) // is told when the first sound came; static

	mu      sync.Mutex
	first   time.Time // when the first sound came
	packets uint64
	lost    uint64
	gap     time.Duration // the longest without sound, between two packets
	gapAt   time.Time     // when it began
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

func newListener(record string, began func(time.Time)) (*listener, error) {
	l := &listener{began: began}
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
		l.began(now)
	} else {
		if gap := now.Sub(l.last); gap > l.gap {
			l.gap, l.gapAt = gap, l.last
		}
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
