package phone

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"switchboard/cmd/internal/phone/g711"
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
