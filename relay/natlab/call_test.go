package natlab_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/turn/v5"
	"github.com/pion/webrtc/v4"

	"switchboard/relay/natlab"
)

// relay runs a TURN server on a host, over UDP, TCP and TLS, until the test ends. The
// certificates are what clients have to trust.
func relay(t *testing.T, h *natlab.Host) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{h.Name()}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(cert)

	udp, err := h.ListenPacket("udp", ":3478")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := h.Listen("tcp", ":3478")
	if err != nil {
		t.Fatal(err)
	}
	tlsListener, err := h.Listen("tcp", ":443")
	if err != nil {
		t.Fatal(err)
	}
	tlsListener = tls.NewListener(tlsListener, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	generator := &turn.RelayAddressGeneratorNone{Address: h.Name(), Net: h.Net()} // of the family that clients ask for
	s, err := turn.NewServer(turn.ServerConfig{
		Realm:         "lab",
		LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard},
		AuthHandler: func(a *turn.RequestAttributes) (string, []byte, bool) {
			return a.Username, turn.GenerateAuthKey(a.Username, "lab", "secret"), true
		},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: udp, RelayAddressGenerator: generator}},
		ListenerConfigs:   []turn.ListenerConfig{{Listener: tcp, RelayAddressGenerator: generator}, {Listener: tlsListener, RelayAddressGenerator: generator}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return roots
}

// caller is a peer that reaches relays of one URL.
type caller struct {
	*webrtc.PeerConnection
	track *webrtc.TrackLocalStaticRTP
	heard chan *rtp.Packet
	state chan webrtc.PeerConnectionState
}

func newCaller(t *testing.T, h *natlab.Host, roots *x509.CertPool, url string) *caller {
	t.Helper()
	var s webrtc.SettingEngine
	s.SetNet(h.Net())
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	if len(url) > 5 && url[:5] == "turns" {
		s.SetICEProxyDialer(tlsDialer{h, roots})
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{
		ICEServers: []webrtc.ICEServer{{URLs: []string{url}, Username: "phone", Credential: "secret"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	c := &caller{PeerConnection: pc, heard: make(chan *rtp.Packet, 100), state: make(chan webrtc.PeerConnectionState, 10)}
	c.track, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU}, "audio", h.Name())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(c.track); err != nil {
		t.Fatal(err)
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { c.state <- s })
	pc.OnTrack(func(r *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			p, _, err := r.ReadRTP()
			if err != nil {
				return
			}
			select {
			case c.heard <- p:
			default:
			}
		}
	})
	return c
}

// tlsDialer reaches relays over TLS whose certificates are not in the system's store.
type tlsDialer struct {
	h     *natlab.Host
	roots *x509.CertPool
}

func (d tlsDialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.h.Net().Dial(network, address)
	if err != nil {
		return nil, err
	}
	name, _, _ := net.SplitHostPort(address)
	// Without the handshake here, a reader and a writer would both begin it, one waiting for
	// the other's mutex, and a bubble's time would stand still.
	secure := tls.Client(c, &tls.Config{ServerName: name, RootCAs: d.roots})
	if err := secure.Handshake(); err != nil {
		c.Close()
		return nil, err
	}
	return secure, nil
}

// connects waits until a peer is connected.
func (c *caller) connects(t *testing.T) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case s := <-c.state:
			switch s {
			case webrtc.PeerConnectionStateConnected:
				return
			case webrtc.PeerConnectionStateFailed:
				t.Fatal("the connection has failed")
			}
		case <-timeout:
			t.Fatal("not connected after 30 s")
		}
	}
}

// hears sends from one to the other until something arrives.
func (c *caller) hears(t *testing.T, from *caller) {
	t.Helper()
	for i := range uint16(100) {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: i, Timestamp: uint32(i) * 160}, Payload: make([]byte, 160)}
		if err := from.track.WriteRTP(p); err != nil {
			t.Fatal(err)
		}
		select {
		case <-c.heard:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Error("nothing is heard in 2 s")
}

func (c *caller) pair(t *testing.T) *webrtc.ICECandidatePair {
	t.Helper()
	p, err := c.GetSenders()[0].Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil || p == nil {
		t.Fatalf("no pair: %v", err)
	}
	return p
}

// Two phones call each other through a relay, which is all that two symmetric NATs leave
// them, or through worse.
func TestCallThroughRelay(t *testing.T) {
	symmetric := natlab.RouterSpec{NAT: &natlab.Symmetric}
	noUDP := natlab.RouterSpec{NAT: &natlab.PortRestricted, Firewall: natlab.Firewall{BlockUDP: true}}
	only443 := natlab.RouterSpec{NAT: &natlab.PortRestricted, Firewall: natlab.Firewall{BlockUDP: true, TCPPorts: []uint16{443}}}
	nat64 := natlab.RouterSpec{NAT: &natlab.NAT{NAT64: true, Mapping: natlab.AddressAndPortDependent, Filtering: natlab.AddressAndPortDependent}}
	for _, tt := range []struct {
		name   string
		router natlab.RouterSpec
		url    string
		link   natlab.Link
	}{
		{"udp", symmetric, "turn:relay:3478?transport=udp", natlab.Link{}},
		{"udp with delay and loss", symmetric, "turn:relay:3478?transport=udp", natlab.Link{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.02}},
		{"tcp", noUDP, "turn:relay:3478?transport=tcp", natlab.Link{}},
		{"tls", only443, "turns:relay:443?transport=tcp", natlab.Link{}},
		{"tls with delay and loss", only443, "turns:relay:443?transport=tcp", natlab.Link{Delay: 20 * time.Millisecond, Loss: 0.02}},
		{"nat64", nat64, "turn:relay:3478?transport=udp", natlab.Link{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := natlab.NewWorld(1)
				t.Cleanup(w.Close) // after the relay's
				roots := relay(t, w.Internet().AddHost("relay"))
				a := newCaller(t, w.Internet().AddRouter("home", tt.router, natlab.NetworkSpec{Link: tt.link}).AddHost("alice"), roots, tt.url)
				b := newCaller(t, w.Internet().AddRouter("office", tt.router, natlab.NetworkSpec{Link: tt.link}).AddHost("bob"), roots, tt.url)
				start := time.Now()
				check(b.SetRemoteDescription(describe(a.PeerConnection, must(a.CreateOffer(nil)))))
				check(a.SetRemoteDescription(describe(b.PeerConnection, must(b.CreateAnswer(nil)))))
				a.connects(t)
				b.connects(t)
				if p := a.pair(t); p.Local.Typ != webrtc.ICECandidateTypeRelay && p.Remote.Typ != webrtc.ICECandidateTypeRelay {
					t.Errorf("from %v to %v, want a relay", p.Local.Typ, p.Remote.Typ)
				}
				a.hears(t, b)
				b.hears(t, a)
				t.Logf("%v, %d packets", time.Since(start), w.Counts().Sent)
			})
		})
	}
}
