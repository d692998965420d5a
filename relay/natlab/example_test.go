package natlab_test

import (
	"fmt"
	"log"

	"github.com/pion/ice/v4"
	"github.com/pion/turn/v5"
	"github.com/pion/webrtc/v4"

	"switchboard/relay/natlab"
)

// Two phones, each behind a NAT, find the direct path with a STUN server's help.
func ExampleWorld() {
	w := natlab.NewWorld(1)
	defer w.Close()
	server := w.Internet().AddHost("server")
	stun, err := turn.NewServer(turn.ServerConfig{PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: must(server.ListenPacket("udp", ":3478"))}}})
	check(err)
	defer stun.Close()

	home := w.Internet().AddRouter("home", natlab.RouterSpec{NAT: &natlab.PortRestricted}, natlab.NetworkSpec{})
	office := w.Internet().AddRouter("office", natlab.RouterSpec{NAT: &natlab.AddressRestricted}, natlab.NetworkSpec{})
	alice, bob := phone(home.AddHost("alice")), phone(office.AddHost("bob"))
	defer alice.Close()
	defer bob.Close()
	connected := make(chan bool, 1)
	alice.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			connected <- true
		}
	})

	check(bob.SetRemoteDescription(describe(alice, must(alice.CreateOffer(nil)))))
	check(alice.SetRemoteDescription(describe(bob, must(bob.CreateAnswer(nil)))))
	<-connected
	pair := must(alice.GetSenders()[0].Transport().ICETransport().GetSelectedCandidatePair())
	fmt.Println("local:", pair.Local.Typ, "remote:", pair.Remote.Typ)
	// Output: local: host remote: srflx
}

// phone is a peer with audio on a host.
func phone(h *natlab.Host) *webrtc.PeerConnection {
	var s webrtc.SettingEngine
	s.SetNet(h.Net())
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	servers := []webrtc.ICEServer{{URLs: []string{"stun:server:3478"}}}
	pc := must(webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{ICEServers: servers}))
	must(pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio))
	return pc
}

// describe sets a peer's description and returns it with all candidates.
func describe(pc *webrtc.PeerConnection, d webrtc.SessionDescription) webrtc.SessionDescription {
	gathered := webrtc.GatheringCompletePromise(pc)
	check(pc.SetLocalDescription(d))
	<-gathered
	return *pc.LocalDescription()
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
