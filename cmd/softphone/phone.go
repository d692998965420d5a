package main

import (
	"context"
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
	call      *client.Call
	pending   []webrtc.ICECandidateInit // came before there was a description
	restarts  int
	restartAt <-chan time.Time

	changes chan webrtc.PeerConnectionState
	found   chan *webrtc.ICECandidate // nil marks the end
	done    chan struct{}
	tasks   sync.WaitGroup

	times times
}

// times are when things happened in the call.
type times struct {
	began, rang, answered, connected, ended time.Time
}

func newPhone(ice protocol.ICE, role protocol.Role, o mediaOptions, out *output) (*phone, error) {
	p := &phone{
		role: role, o: o, out: out, changes: make(chan webrtc.PeerConnectionState, 16),
		found: make(chan *webrtc.ICECandidate, 64), done: make(chan struct{}), times: times{began: time.Now()},
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

// offer makes the first offer. Candidates begin to be found.
func (p *phone) offer() (string, error) {
	d, err := p.pc.CreateOffer(nil)
	if err == nil {
		err = p.pc.SetLocalDescription(d)
	}
	if err != nil {
		return "", fmt.Errorf("offer: %w", err)
	}
	return d.SDP, nil
}

// answer takes an offer and answers it.
func (p *phone) answer(offer string) (string, error) {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("offer of the other side: %w", err)
	}
	d, err := p.pc.CreateAnswer(nil)
	if err == nil {
		err = p.pc.SetLocalDescription(d)
	}
	if err != nil {
		return "", fmt.Errorf("answer: %w", err)
	}
	return d.SDP, nil
}

// close ends the media and waits for everything that runs for it.
func (p *phone) close() error {
	close(p.done)
	err := p.pc.Close()
	p.player.stop()
	p.tasks.Wait()
	return errors.Join(err, p.heard.close())
}

const (
	// batchFor is how long candidates are collected before they are sent.
	batchFor = 100 * time.Millisecond
	// The caller restarts ICE first; the callee if that does not help.
	restartAfterCaller, restartAfterCallee = 3 * time.Second, 6 * time.Second
)

// talk carries the call until it ends and returns why. hangUp ends it from
// this side.
func (p *phone) talk(ctx context.Context, call *client.Call, hangUp <-chan struct{}) (protocol.CallEnded, error) {
	p.call = call
	events := make(chan client.CallEvent)
	ectx, stop := context.WithCancel(ctx)
	defer stop()
	p.tasks.Go(func() {
		defer close(events)
		for {
			e, err := call.Next(ectx)
			if err != nil {
				return
			}
			select {
			case events <- e:
			case <-ectx.Done():
				return
			}
		}
	})
	var batch []*webrtc.ICECandidate
	var flush <-chan time.Time
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return protocol.CallEnded{}, errors.New("the session ended in the call")
			}
			if end, ok := e.(client.Ended); ok {
				p.times.ended = time.Now()
				return end.CallEnded, nil
			}
			if err := p.handle(ctx, e); err != nil {
				p.out.say("softphone: %v", err)
			}
		case c := <-p.found:
			batch = append(batch, c)
			if flush == nil {
				flush = time.After(batchFor)
			}
		case <-flush:
			p.sendCandidates(ctx, batch)
			batch, flush = nil, nil
		case s := <-p.changes:
			p.connection(ctx, s)
		case <-p.restartAt:
			p.restart(ctx)
		case <-hangUp:
			hangUp = nil
			p.tasks.Go(func() {
				hctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				defer cancel()
				_ = call.Hangup(hctx, "") // the end comes as an event, or the session is gone
			})
		case <-ctx.Done():
			return protocol.CallEnded{}, ctx.Err()
		}
	}
}

// request runs a request about the call beside the events, which its answer
// must not hold up.
func (p *phone) request(ctx context.Context, what string, do func(context.Context) error) {
	p.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		err := do(ctx)
		if err != nil && protocol.CodeOf(err) != protocol.CodeCallEnded && ctx.Err() == nil {
			p.out.say("softphone: %s: %v", what, err)
		}
	})
}

func (p *phone) handle(ctx context.Context, e client.CallEvent) error {
	switch e := e.(type) {
	case client.Ringing:
		p.times.rang = time.Now()
		p.out.event("ringing", "after", p.times.rang.Sub(p.times.began))
	case client.Answered:
		p.times.answered = time.Now()
		p.out.event("answered", "after", p.times.answered.Sub(p.times.began))
		return p.remote(webrtc.SDPTypeAnswer, e.SDP)
	case client.Candidates:
		for _, c := range e.Candidates {
			if err := p.candidate(c); err != nil {
				return err
			}
		}
	case client.Description:
		return p.described(ctx, e.CallDescribe)
	case client.State:
		p.out.event(string(e.State))
		if e.RelayOnly {
			c := p.pc.GetConfiguration()
			c.ICETransportPolicy = webrtc.ICETransportPolicyRelay
			if err := p.pc.SetConfiguration(c); err != nil {
				return fmt.Errorf("relays alone: %w", err)
			}
		}
		if e.Restart {
			p.restart(ctx)
		}
	}
	return nil
}

func (p *phone) remote(kind webrtc.SDPType, sdp string) error {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: sdp}); err != nil {
		return fmt.Errorf("description of the other side: %w", err)
	}
	for _, c := range p.pending {
		if err := p.pc.AddICECandidate(c); err != nil {
			return fmt.Errorf("candidate: %w", err)
		}
	}
	p.pending = nil
	return nil
}

func (p *phone) candidate(c protocol.Candidate) error {
	if c.Candidate == "" {
		return nil
	}
	init := webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMid: &c.Mid}
	if c.MLine != nil {
		line := uint16(*c.MLine)
		init.SDPMLineIndex = &line
	}
	if p.pc.RemoteDescription() == nil {
		p.pending = append(p.pending, init)
		return nil
	}
	if err := p.pc.AddICECandidate(init); err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	return nil
}

// described takes a description inside the call, as perfect negotiation has
// it: when both offer at once, the polite callee takes its offer back.
func (p *phone) described(ctx context.Context, d protocol.CallDescribe) error {
	switch d.Kind {
	case "answer":
		if p.pc.SignalingState() != webrtc.SignalingStateHaveLocalOffer {
			return nil // to an offer that was taken back
		}
		return p.remote(webrtc.SDPTypeAnswer, d.SDP)
	case "offer":
		if p.pc.SignalingState() != webrtc.SignalingStateStable {
			if p.role == protocol.Caller {
				return nil // impolite: ours stands
			}
			if err := p.pc.SetLocalDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeRollback}); err != nil {
				return fmt.Errorf("take the offer back: %w", err)
			}
		}
		sdp, err := p.answer(d.SDP)
		if err != nil {
			return err
		}
		p.request(ctx, "answer", func(ctx context.Context) error { return p.call.Describe(ctx, "answer", sdp, false) })
	}
	return nil
}

// restart makes an offer that restarts ICE.
func (p *phone) restart(ctx context.Context) {
	p.restartAt = nil
	if p.pc.SignalingState() != webrtc.SignalingStateStable {
		return
	}
	p.restarts++
	p.out.event("ice restart")
	d, err := p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err == nil {
		err = p.pc.SetLocalDescription(d)
	}
	if err != nil {
		p.out.say("softphone: ICE restart: %v", err)
		return
	}
	p.request(ctx, "ICE restart", func(ctx context.Context) error { return p.call.Describe(ctx, "offer", d.SDP, true) })
}

// connection reports the state of the media and restarts ICE when it is lost.
func (p *phone) connection(ctx context.Context, s webrtc.PeerConnectionState) {
	switch s {
	case webrtc.PeerConnectionStateConnected:
		p.restartAt = nil
		if p.times.connected.IsZero() {
			p.times.connected = time.Now()
		}
		path := p.path()
		p.request(ctx, "report", func(ctx context.Context) error { return p.call.Report(ctx, protocol.MediaConnected, path) })
	case webrtc.PeerConnectionStateDisconnected:
		p.out.event("media lost")
		p.restartAt = time.After(p.restartAfter())
		p.request(ctx, "report", func(ctx context.Context) error { return p.call.Report(ctx, protocol.MediaDisconnected, nil) })
	case webrtc.PeerConnectionStateFailed:
		p.restartAt = time.After(p.restartAfter() - restartAfterCaller)
		p.request(ctx, "report", func(ctx context.Context) error { return p.call.Report(ctx, protocol.MediaFailed, nil) })
	}
}

func (p *phone) restartAfter() time.Duration {
	if p.role == protocol.Caller {
		return restartAfterCaller
	}
	return restartAfterCallee
}

// sendCandidates sends what was found, in as many messages as it takes. Those
// of one generation are together: a restart begins after the batch before.
func (p *phone) sendCandidates(ctx context.Context, batch []*webrtc.ICECandidate) {
	d := p.pc.LocalDescription()
	if d == nil {
		return
	}
	gen := ufrag(d.SDP)
	var list []protocol.Candidate
	end := false
	for _, c := range batch {
		if c == nil {
			end = true
			continue
		}
		init := c.ToJSON()
		k := protocol.Candidate{Candidate: init.Candidate}
		if init.SDPMid != nil {
			k.Mid = *init.SDPMid
		}
		if init.SDPMLineIndex != nil {
			line := int(*init.SDPMLineIndex)
			k.MLine = &line
		}
		list = append(list, k)
	}
	for chunk := range slices.Chunk(list, protocol.MaxBatch) {
		p.request(ctx, "candidates", func(ctx context.Context) error { return p.call.SendCandidates(ctx, gen, chunk, false) })
	}
	if end {
		p.request(ctx, "candidates", func(ctx context.Context) error { return p.call.SendCandidates(ctx, gen, nil, true) })
	}
}

// ufrag is the ICE generation of a description.
func ufrag(sdp string) string {
	_, rest, _ := strings.Cut(sdp, "a=ice-ufrag:")
	gen, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(gen)
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
