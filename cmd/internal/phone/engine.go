package phone

import (
	"slices"
	"strings"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/intervalpli"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"switchboard/signaling/protocol"
)

// newAPI sets pion up with the codecs that need no encoder of C: G.711 for
// sound, which every browser has, and VP8 to receive.
// With relays alone, a pair that works is waited with for so long.
func newAPI(o Options, n *network, wait time.Duration) (*webrtc.API, error) {
	m, err := codecs()
	if err != nil {
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
	s := webrtc.SettingEngine{LoggerFactory: quiet()}
	// Two phones on one machine may have nothing but the loopback between them. Elsewhere it
	// leads nowhere, and would only make more pairs to check.
	s.SetIncludeLoopbackCandidate(o.Net == nil)
	if o.RelayOnly {
		s.SetRelayAcceptanceMinWait(wait)
	}
	if o.Net != nil { // names under .local are the machine's neighbours
		s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	}
	// That the other side closes its connection is no end of the call: that comes by the
	// server, and it may be that there is another connection.
	s.DisableCloseByDTLS(true)
	s.SetNet(n)
	s.SetICEProxyDialer(n)
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(i), webrtc.WithSettingEngine(s)), nil
}

// quiet has the ICE library say nothing of what the phone sees for itself, such as that a
// connection has been closed, unless the environment asks for it (PION_LOG_DEBUG=ice).
func quiet() logging.LoggerFactory {
	f := logging.NewDefaultLoggerFactory()
	f.DefaultLogLevel = logging.LogLevelDisabled
	return f
}

func codecs() (*webrtc.MediaEngine, error) {
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
	return m, m.RegisterCodec(vp8, webrtc.RTPCodecTypeVideo)
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
			return p.o.Transport != "" && transportOf(u) != p.o.Transport && !strings.HasPrefix(u, "stun:")
		})
		if len(urls) > 0 {
			c.ICEServers = append(c.ICEServers, webrtc.ICEServer{URLs: urls, Username: s.Username, Credential: s.Credential})
		}
	}
	return c
}
