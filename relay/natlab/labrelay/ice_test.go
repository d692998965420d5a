package labrelay_test

import (
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/labrelay"
)

// An ICE agent that cannot be told whom to trust gathers candidates by all three
// transports, also where IPv4 is behind a NAT64.
func TestICE(t *testing.T) {
	before := os.Getenv("GODEBUG")
	for range 2 {
		if err := labrelay.TrustRoots(); err != nil {
			t.Fatal(err)
		}
	}
	if now := os.Getenv("GODEBUG"); now != before {
		t.Errorf("GODEBUG is %q, was %q", now, before)
	}
	for _, access := range []struct {
		name   string
		router natlab.RouterSpec
		inside natlab.NetworkSpec
	}{
		{"symmetric", natlab.RouterSpec{NAT: &natlab.Symmetric}, natlab.NetworkSpec{}},
		{"NAT64", natlab.RouterSpec{NAT: &natlab.NAT{NAT64: true}}, natlab.NetworkSpec{}},
		{"dual stack", natlab.RouterSpec{NAT: &natlab.PortRestricted, IPv6: natlab.IPv6Routed}, natlab.NetworkSpec{}},
	} {
		for _, over := range []string{"udp", "tcp", "tls"} {
			t.Run(access.name+" over "+over, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, r := lab(t, nil)
					h := w.Internet().AddRouter("nat", access.router, access.inside).AddHost("alice")
					username, password, _ := r.Mint("call", "alice")
					kinds := gather(t, h, webrtc.ICEServer{URLs: r.TURN(over), Username: username, Credential: password})
					if !slices.Contains(kinds, webrtc.ICECandidateTypeRelay) {
						t.Errorf("candidates: %v", kinds)
					}
				})
			})
		}
	}
}

// gather returns the kinds of candidates that an agent has when it has all.
func gather(t *testing.T, h *natlab.Host, server webrtc.ICEServer) (kinds []webrtc.ICECandidateType) {
	t.Helper()
	settings := webrtc.SettingEngine{LoggerFactory: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}}
	settings.SetNet(h.Net())
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{ICEServers: []webrtc.ICEServer{server}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c == nil {
			close(done)
			return
		}
		kinds = append(kinds, c.Typ)
	})
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it still gathers")
	}
	time.Sleep(100 * time.Millisecond)
	return kinds
}
