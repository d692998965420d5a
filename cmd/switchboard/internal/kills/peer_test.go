package kills

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"switchboard/signaling/protocol"
)

// peer is the media of one side: a packet every 20 ms each way.
type peer struct {
	pc    *webrtc.PeerConnection
	link  *link
	found chan webrtc.ICECandidateInit
	tasks sync.WaitGroup
	done  context.CancelFunc

	heard, spoken packets
}

// packets notes when they come, or go.
type packets struct {
	mu      sync.Mutex
	n       int
	last    time.Time
	longest time.Duration // between two
}

func (p *packets) note() {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n++; !p.last.IsZero() {
		p.longest = max(p.longest, now.Sub(p.last))
	}
	p.last = now
}

func (p *packets) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// measure forgets the gaps so far.
func (p *packets) measure() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.longest = 0
}

// gap is the longest since [packets.measure], the present one included.
func (p *packets) gap() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.longest, time.Since(p.last))
}

const packetEvery = 20 * time.Millisecond

// link is a socket that can be interrupted.
type link struct {
	net.PacketConn
	down atomic.Bool
}

func (l *link) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := l.PacketConn.ReadFrom(b)
		if err != nil || !l.down.Load() {
			return n, from, err
		}
	}
}

func (l *link) WriteTo(b []byte, to net.Addr) (int, error) {
	if l.down.Load() {
		return len(b), nil
	}
	return l.PacketConn.WriteTo(b, to)
}

// newPeer makes a peer connection. changed is told its state.
func newPeer(changed func(webrtc.PeerConnectionState)) (*peer, error) {
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &peer{link: &link{PacketConn: socket}, found: make(chan webrtc.ICECandidateInit, 64)}
	var s webrtc.SettingEngine
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	s.LoggerFactory = quiet
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEUDPMux(webrtc.NewICEUDPMux(quiet.NewLogger("ice"), p.link))
	s.SetICETimeouts(time.Second, time.Minute, 200*time.Millisecond)
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	if p.pc, err = webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(m)).NewPeerConnection(webrtc.Configuration{}); err != nil {
		return nil, err
	}
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000}, "audio", "kills")
	if err != nil {
		return nil, err
	}
	if _, err := p.pc.AddTrack(track); err != nil {
		return nil, err
	}
	p.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.tasks.Go(func() { p.hear(t) }) })
	p.pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c != nil {
			p.found <- c.ToJSON()
		}
	})
	p.pc.OnConnectionStateChange(changed)
	ctx, cancel := context.WithCancel(context.Background())
	p.done = cancel
	p.tasks.Go(func() { p.speak(ctx, track) })
	return p, nil
}

func (p *peer) speak(ctx context.Context, track *webrtc.TrackLocalStaticSample) {
	tick := time.NewTicker(packetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = track.WriteSample(media.Sample{Data: make([]byte, 160), Duration: packetEvery}) // nobody may listen yet
			p.spoken.note()
		}
	}
}

func (p *peer) hear(t *webrtc.TrackRemote) {
	for {
		if _, _, err := t.ReadRTP(); err != nil {
			return
		}
		p.heard.note()
	}
}

func (p *peer) offer() (string, error) {
	d, err := p.pc.CreateOffer(nil)
	return d.SDP, errors.Join(err, p.pc.SetLocalDescription(d))
}

func (p *peer) answer(offer string) (string, error) {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	d, err := p.pc.CreateAnswer(nil)
	return d.SDP, errors.Join(err, p.pc.SetLocalDescription(d))
}

func (p *peer) answered(sdp string) error {
	return p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp})
}

func (p *peer) add(c protocol.Candidate) error {
	return p.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMid: &c.Mid})
}

func (p *peer) close() {
	p.done()
	_ = p.pc.Close()
	_ = p.link.Close()
	p.tasks.Wait()
}
