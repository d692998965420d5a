package phone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// phone is the media of one call: a peer connection, what it sends and what it
// hears. One goroutine, that of [phone.talk], handles the call's events.
type phone struct {
	// Static after newPhone.
	api     *webrtc.API
	network *network
	role    protocol.Role
	story   *story

	player *player
	heard  *listener

	mu sync.Mutex // held to change pc and times, and by who is not their owner to read them

	// Owned by talk.
	ice           protocol.ICE
	o             Options
	pc            *webrtc.PeerConnection
	call          *client.Call
	events        chan client.CallEvent
	life          context.Context    // of what follow has started
	leave         context.CancelFunc // ends it
	drop          func()             // has the connection's callbacks go nowhere
	prepared      string             // the pre-answer of the other side, or of this one
	open          bool               // candidates may be sent
	preferences   preferences
	pending       []webrtc.ICECandidateInit  // came before there was a description
	came          []webrtc.ICECandidateInit  // all that came before the answer
	early         webrtc.PeerConnectionState // the last before the answer
	batch         []*webrtc.ICECandidate     // found, not yet sent
	flush         <-chan time.Time           // when they are
	restarts      int
	restartAt     <-chan time.Time
	restartWanted bool      // once the open offer is settled
	offered       time.Time // the last restart
	again         bool      // it is the second one, for the first was answered late
	pairs         pairs

	changes  chan webrtc.PeerConnectionState
	found    chan *webrtc.ICECandidate // nil marks the end
	opened   chan struct{}             // the server takes this side's candidates
	requests chan request
	// heardServer is for who is on another network.
	heardServer chan struct{}
	done        chan struct{}
	tasks       sync.WaitGroup

	times times

	gaveUp bool // ringing took too long; owned by watch
}

// times are when things happened in the call.
type times struct {
	began, rang, answered, ended time.Time
}

func newPhone(ice protocol.ICE, role protocol.Role, o Options) (*phone, error) {
	// The ICE agent keeps to the kinds of candidates that it was made with. With
	// relays alone until the answer, the phone therefore prepares nothing, see
	// [phone.mayPrepare], and looks for all kinds from the answer on.
	o.RelayOnly = o.RelayOnly || ice.Policy == protocol.PolicyRelay
	now := time.Now()
	p := &phone{
		ice: ice, role: role, o: o, story: &story{began: now, told: o.Moment}, opened: make(chan struct{}, 1), pairs: pairs{},
		requests: make(chan request, maxRequests), heardServer: make(chan struct{}, 1), done: make(chan struct{}), times: times{began: now},
	}
	var err error
	if p.player, err = newPlayer(o.Play); err != nil {
		return nil, err
	}
	if p.network, err = newNetwork(o.Net, o.RelayTLS); err != nil {
		return nil, err
	}
	wait := acceptAfter
	if len(relaysOf(ice)) < 2 {
		wait = 0 // there is nothing better to wait for
	}
	if p.api, err = newAPI(o, p.network, wait); err != nil {
		return nil, err
	}
	if p.heard, err = newListener(o.Record, func(at time.Time) { p.story.addAt(at, FirstMedia, "") }); err != nil {
		return nil, err
	}
	if err = p.connect(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// connect makes a peer connection, in the place of the one that there is.
func (p *phone) connect() error {
	p.network.begin(p.ice)
	pc, err := p.api.NewPeerConnection(p.configuration(p.ice, p.o.RelayOnly))
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
		if s == webrtc.PeerConnectionStateConnected {
			p.story.add(Connected, "")
		}
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
	p.watchICE(sender.Transport().ICETransport(), gone)
	old := p.pc
	if old != nil {
		p.pairs.count(old)
	}
	p.mu.Lock()
	p.pc = pc
	p.mu.Unlock()
	p.changes, p.found, p.batch, p.pending, p.flush = changes, found, nil, nil, nil
	p.early = webrtc.PeerConnectionStateUnknown
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
	p.network.leave()
	var err error
	if p.pc != nil {
		err = p.pc.GracefulClose()
	}
	p.player.stop()
	p.tasks.Wait()
	return errors.Join(err, p.heard.close())
}
