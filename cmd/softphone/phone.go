package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/intervalpli"
	"github.com/pion/stun/v4"
	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// mediaOptions say what a call sends, keeps and how it connects.
type mediaOptions struct {
	play      string // WAV to send; silence after its end, or without one
	record    string // WAV to write what is heard to
	relayOnly bool
	transport string        // udp, tcp or tls to the relay; "" for any
	net       transport.Net // nil for that of the machine
}

// phone is the media of one call: a peer connection, what it sends and what it
// hears. One goroutine, that of [phone.talk], handles the call's events.
type phone struct {
	// Static after newPhone.
	api   *webrtc.API
	order *relayOrder
	role  protocol.Role
	out   *output

	player *player
	heard  *listener

	mu     sync.Mutex // held to change pc, too, and by who is not its owner to read it
	server string     // guarded by mu: the relay in use, host:port; "" if not known

	// Owned by talk.
	ice           protocol.ICE
	o             mediaOptions
	pc            *webrtc.PeerConnection
	call          *client.Call
	events        chan client.CallEvent
	leave         context.CancelFunc // ends what follow has started
	drop          func()             // has the connection's callbacks go nowhere
	prepared      string             // the pre-answer of the other side, or of this one
	open          bool               // candidates may be sent
	preferences   preferences
	pending       []webrtc.ICECandidateInit // came before there was a description
	batch         []*webrtc.ICECandidate    // found, not yet sent
	flush         <-chan time.Time          // when they are
	restarts      int
	restartAt     <-chan time.Time
	restartWanted bool // once the open offer is settled

	changes  chan webrtc.PeerConnectionState
	found    chan *webrtc.ICECandidate // nil marks the end
	opened   chan struct{}             // the server takes this side's candidates
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
	// The ICE agent keeps to the kinds of candidates that it was made with. With
	// relays alone until the answer, the phone therefore prepares nothing, see
	// [phone.mayPrepare], and looks for all kinds from the answer on.
	o.relayOnly = o.relayOnly || ice.Policy == protocol.PolicyRelay
	p := &phone{
		ice: ice, role: role, o: o, out: out, opened: make(chan struct{}, 1),
		requests: make(chan request, maxRequests), done: make(chan struct{}), times: times{began: time.Now()},
	}
	var err error
	if p.heard, err = newListener(o.record); err != nil {
		return nil, err
	}
	if p.player, err = newPlayer(o.play); err != nil {
		return nil, err
	}
	if p.order, err = newRelayOrder(o.net); err != nil {
		return nil, err
	}
	wait := acceptAfter
	if len(relaysOf(ice)) < 2 {
		wait = 0 // there is nothing better to wait for
	}
	if p.api, err = newAPI(o, p.order, wait); err != nil {
		return nil, err
	}
	return p, p.connect()
}

// connect makes a peer connection, in the place of the one that there is.
func (p *phone) connect() error {
	p.order.begin(p.ice)
	pc, err := p.api.NewPeerConnection(p.configuration(p.ice, p.o.relayOnly))
	if err != nil {
		return fmt.Errorf("peer connection: %w", err)
	}
	sender, err := pc.AddTrack(p.player.track)
	if err != nil {
		return errors.Join(fmt.Errorf("audio: %w", err), pc.Close())
	}
	// What an earlier connection still tells goes nowhere.
	changes, found := make(chan webrtc.PeerConnectionState, 16), make(chan *webrtc.ICECandidate, 64)
	gone := make(chan struct{})
	p.tasks.Go(func() { drainRTCP(sender) })
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		p.tasks.Go(func() { p.heard.take(t) })
	})
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		select {
		case changes <- s:
		case <-gone:
		case <-p.done:
		}
	})
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		select {
		case found <- c:
		case <-gone:
		case <-p.done:
		}
	})
	p.mu.Lock()
	old := p.pc
	p.pc = pc
	p.mu.Unlock()
	p.changes, p.found, p.batch, p.pending, p.flush = changes, found, nil, nil, nil
	if p.drop != nil {
		p.drop()
	}
	p.drop = sync.OnceFunc(func() { close(gone) })
	if old != nil {
		return old.Close()
	}
	return nil
}

// peer is the peer connection, for who does not own it.
func (p *phone) peer() *webrtc.PeerConnection {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pc
}

// newAPI sets pion up with the codecs that need no encoder of C: G.711 for
// sound, which every browser has, and VP8 to receive.
// With relays alone, a pair that works is waited with for so long.
func newAPI(o mediaOptions, network transport.Net, wait time.Duration) (*webrtc.API, error) {
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
	if o.relayOnly {
		s.SetRelayAcceptanceMinWait(wait)
	}
	s.SetNet(network)
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
	if p.leave != nil {
		p.leave()
	}
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
		p.mu.Lock()
		path.Server = p.server
		p.mu.Unlock()
	}
	return path
}

// findServer finds out which relay of ice is in use.
func (p *phone) findServer(ctx context.Context, ice protocol.ICE) {
	server := serverAt(ctx, turnServers(ice, p.relayTransport()), p.localAddress())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
}

// localAddress is this side's address of the path, "" without one.
func (p *phone) localAddress() string {
	if t := p.transport(); t != nil {
		if pair, err := t.GetSelectedCandidatePair(); err == nil && pair != nil {
			return pair.Local.Address
		}
	}
	return ""
}

// turnServers are the TURN servers of ice that are reached over a transport, as
// host:port.
func turnServers(ice protocol.ICE, transport string) []string {
	var all []string
	for _, s := range ice.Servers {
		for _, text := range s.URLs {
			u, err := stun.ParseURI(text)
			if err != nil || u.Scheme != stun.SchemeTypeTURN && u.Scheme != stun.SchemeTypeTURNS || transportOf(text) != transport {
				continue
			}
			if at := net.JoinHostPort(u.Host, strconv.Itoa(u.Port)); !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	return all
}

// serverAt returns which of the servers has relayed from an address, "" if that is not
// known: the ICE library does not tell. Servers that relay from other addresses than
// they are reached at are found only if there is no other, and those that share an
// address are not told apart.
func serverAt(ctx context.Context, servers []string, relayed string) string {
	if len(servers) == 1 {
		return servers[0]
	}
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	found := ""
	for _, server := range servers {
		host, _, _ := net.SplitHostPort(server)
		addrs, err := net.DefaultResolver.LookupHost(ctx, host)
		switch {
		case err != nil || !slices.Contains(addrs, relayed):
		case found != "":
			return ""
		default:
			found = server
		}
	}
	return found
}

// lookupWithin bounds the look-up of relays' names.
const lookupWithin = 2 * time.Second

// transport is the one that carries all media of the call, or nil.
func (p *phone) transport() *webrtc.ICETransport {
	for _, s := range p.peer().GetSenders() {
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
	for _, s := range p.peer().GetStats() {
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
