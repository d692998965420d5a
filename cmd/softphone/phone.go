package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/intervalpli"
	"github.com/pion/webrtc/v4"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// mediaOptions say what a call sends, keeps and how it connects.
type mediaOptions struct {
	play      string // WAV to send; silence after its end, or without one
	record    string // WAV to write what is heard to
	relayOnly bool
	transport string // udp, tcp or tls to the relay; "" for any
}

// phone is the media of one call: a peer connection, what it sends and what it
// hears. One goroutine, that of [phone.talk], handles the call's events.
type phone struct {
	// Static after newPhone.
	pc   *webrtc.PeerConnection
	role protocol.Role
	o    mediaOptions
	out  *output

	player *player
	heard  *listener

	// Owned by talk.
	call          *client.Call
	pending       []webrtc.ICECandidateInit // came before there was a description
	batch         []*webrtc.ICECandidate    // found, not yet sent
	flush         <-chan time.Time          // when they are
	restarts      int
	restartAt     <-chan time.Time
	restartWanted bool // once the open offer is settled

	changes  chan webrtc.PeerConnectionState
	found    chan *webrtc.ICECandidate // nil marks the end
	requests chan request
	done     chan struct{}
	tasks    sync.WaitGroup

	times times

	gaveUp bool // ringing took too long; owned by watch
}

// times are when things happened in the call.
type times struct {
	began, rang, answered, connected, ended time.Time
}

func newPhone(ice protocol.ICE, role protocol.Role, o mediaOptions, out *output) (*phone, error) {
	p := &phone{
		role: role, o: o, out: out, changes: make(chan webrtc.PeerConnectionState, 16),
		found: make(chan *webrtc.ICECandidate, 64), requests: make(chan request, maxRequests), done: make(chan struct{}), times: times{began: time.Now()},
	}
	var err error
	if p.heard, err = newListener(o.record); err != nil {
		return nil, err
	}
	if p.player, err = newPlayer(o.play); err != nil {
		return nil, err
	}
	api, err := newAPI(o.relayOnly)
	if err != nil {
		return nil, err
	}
	if p.pc, err = api.NewPeerConnection(p.configuration(ice, o.relayOnly)); err != nil {
		return nil, fmt.Errorf("peer connection: %w", err)
	}
	sender, err := p.pc.AddTrack(p.player.track)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("audio: %w", err), p.pc.Close())
	}
	p.tasks.Go(func() { drainRTCP(sender) })
	p.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		p.tasks.Go(func() { p.heard.take(t) })
	})
	p.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		select {
		case p.changes <- s:
		case <-p.done:
		}
	})
	p.pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		select {
		case p.found <- c:
		case <-p.done:
		}
	})
	return p, nil
}

// newAPI sets pion up with the codecs that need no encoder of C: G.711 for
// sound, which every browser has, and VP8 to receive.
func newAPI(relayOnly bool) (*webrtc.API, error) {
	m := &webrtc.MediaEngine{}
	for _, c := range []webrtc.RTPCodecParameters{
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: sampleRate}, PayloadType: 0},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMA, ClockRate: sampleRate}, PayloadType: 8},
	} {
		if err := m.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, err
		}
	}
	vp8 := webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeVP8, ClockRate: 90000,
		RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "goog-remb"}},
	}, PayloadType: 96}
	if err := m.RegisterCodec(vp8, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, err
	}
	i := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(m, i); err != nil {
		return nil, err
	}
	pli, err := intervalpli.NewReceiverInterceptor()
	if err != nil {
		return nil, err
	}
	i.Add(pli)
	s := webrtc.SettingEngine{}
	// Two phones on one machine may have nothing but the loopback between them.
	s.SetIncludeLoopbackCandidate(true)
	if relayOnly {
		s.SetRelayAcceptanceMinWait(0) // there is nothing better to wait for
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(i), webrtc.WithSettingEngine(s)), nil
}

// configuration leaves, of the servers, those that reach the relay as was
// asked.
func (p *phone) configuration(ice protocol.ICE, relayOnly bool) webrtc.Configuration {
	var c webrtc.Configuration
	if relayOnly {
		c.ICETransportPolicy = webrtc.ICETransportPolicyRelay
	}
	for _, s := range ice.Servers {
		urls := slices.DeleteFunc(slices.Clone(s.URLs), func(u string) bool {
			return p.o.transport != "" && transportOf(u) != p.o.transport && !strings.HasPrefix(u, "stun:")
		})
		if len(urls) > 0 {
			c.ICEServers = append(c.ICEServers, webrtc.ICEServer{URLs: urls, Username: s.Username, Credential: s.Credential})
		}
	}
	return c
}

// transportOf is how a TURN URL reaches its relay (RFC 7065).
func transportOf(url string) string {
	switch {
	case strings.HasPrefix(url, "turns:"):
		return "tls"
	case strings.Contains(url, "transport=tcp"):
		return "tcp"
	}
	return "udp"
}

func drainRTCP(s *webrtc.RTPSender) {
	buf := make([]byte, 1500)
	for {
		if _, _, err := s.Read(buf); err != nil {
			return
		}
	}
}

// close ends the media and waits for everything that runs for it.
func (p *phone) close() error {
	close(p.done)
	err := p.pc.Close()
	p.player.stop()
	p.tasks.Wait()
	return errors.Join(err, p.heard.close())
}

// path is what carries the media now, or nil.
func (p *phone) path() *protocol.Path {
	t := p.transport()
	if t == nil {
		return nil
	}
	pair, err := t.GetSelectedCandidatePair()
	if err != nil || pair == nil {
		return nil
	}
	path := &protocol.Path{Local: pair.Local.Typ.String(), Remote: pair.Remote.Typ.String(), Protocol: pair.Local.Protocol.String()}
	if pair.Local.Typ == webrtc.ICECandidateTypeRelay {
		path.Relay = p.relayTransport()
	}
	return path
}

// transport is the one that carries all media of the call, or nil.
func (p *phone) transport() *webrtc.ICETransport {
	for _, s := range p.pc.GetSenders() {
		if t := s.Transport(); t != nil {
			return t.ICETransport()
		}
	}
	return nil
}

// relayTransport is how this side reaches the relay of the path.
func (p *phone) relayTransport() string {
	pair, ok := p.pairStats()
	if !ok {
		return ""
	}
	for _, s := range p.pc.GetStats() {
		c, ok := s.(webrtc.ICECandidateStats)
		if ok && c.ID == pair.LocalCandidateID {
			return strings.Replace(c.RelayProtocol, "dtls", "tls", 1)
		}
	}
	return ""
}

func (p *phone) pairStats() (webrtc.ICECandidatePairStats, bool) {
	if t := p.transport(); t != nil {
		return t.GetSelectedCandidatePairStats()
	}
	return webrtc.ICECandidatePairStats{}, false
}

// roundTrip is the newest measured round trip of the path, 0 if there is none.
func (p *phone) roundTrip() time.Duration {
	pair, ok := p.pairStats()
	if !ok {
		return 0
	}
	return time.Duration(pair.CurrentRoundTripTime * float64(time.Second))
}
