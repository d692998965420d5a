package kills

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

// side is one side of a call: a phone, its media, and what it was told.
type side struct {
	name   string
	client *client.Client
	peer   *peer
	tasks  sync.WaitGroup
	calls  chan *client.Call // that it was rung for

	mu        sync.Mutex
	call      *client.Call
	offer     string // or answer, of this side
	held      bool   // candidates are kept back
	waiting   []protocol.Candidate
	state     protocol.State // as last told, or heard otherwise
	ends      []protocol.CallEnded
	connected int // sessions so far
	faults    []error
}

// sit connects a phone.
func sit(ctx context.Context, name, token string, urls []string) (*side, error) {
	s := &side{name: name, calls: make(chan *client.Call, 8)}
	var err error
	s.client, err = client.Dial(ctx, client.Options{URL: urls[0], Others: urls[1:], Token: token, Name: "kills", MaxBackoff: time.Second})
	if err != nil {
		return nil, err
	}
	if s.peer, err = newPeer(s.media); err != nil {
		return nil, errors.Join(err, s.client.Close())
	}
	s.tasks.Go(s.read)
	return s, nil
}

func (s *side) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Errorf(s.name+": "+format, args...))
}

func (s *side) read() {
	for e := range s.client.Events() {
		switch e := e.(type) {
		case client.Item:
			e.Ack()
		case client.Connected:
			s.mu.Lock()
			s.connected++
			s.mu.Unlock()
		case client.Incoming:
			s.calls <- e.Call
		}
	}
}

// media reports how it is.
func (s *side) media(state webrtc.PeerConnectionState) {
	m := map[webrtc.PeerConnectionState]protocol.MediaState{
		webrtc.PeerConnectionStateConnected: protocol.MediaConnected, webrtc.PeerConnectionStateDisconnected: protocol.MediaDisconnected,
	}[state]
	if m == "" {
		return
	}
	s.mu.Lock()
	call := s.call
	s.mu.Unlock()
	s.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := call.Report(ctx, protocol.CallReport{Media: m}); err != nil && protocol.CodeOf(err) != protocol.CodeCallEnded {
			s.fault("report: %w", err)
		}
	})
}

// follow takes what comes for the call until it ends.
func (s *side) follow(ctx context.Context, call *client.Call) {
	s.mu.Lock()
	s.call = call
	s.mu.Unlock()
	s.tasks.Go(func() {
		for {
			e, err := call.Next(ctx)
			if err != nil {
				return
			}
			if err := s.take(e); err != nil {
				s.fault("%T: %w", e, err)
			}
		}
	})
}

func (s *side) take(e client.CallEvent) error {
	switch e := e.(type) {
	case client.Ringing:
		s.now(protocol.Ringing)
	case client.Answered:
		s.now(protocol.Connecting)
		return errors.Join(s.peer.answered(e.SDP), s.addWaiting())
	case client.Candidates:
		s.mu.Lock()
		s.waiting = append(s.waiting, e.Candidates...)
		s.mu.Unlock()
		return s.addWaiting()
	case client.State:
		s.now(e.State)
	case client.Ended:
		s.mu.Lock()
		s.ends = append(s.ends, e.CallEnded)
		s.mu.Unlock()
	}
	return nil
}

func (s *side) now(state protocol.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

func (s *side) addWaiting() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held || s.peer.pc.RemoteDescription() == nil {
		return nil
	}
	var errs []error
	for _, c := range s.waiting {
		errs = append(errs, s.peer.add(c))
	}
	s.waiting = nil
	return errors.Join(errs...)
}

// release lets the candidates go that were held.
func (s *side) release() error {
	s.mu.Lock()
	s.held = false
	s.mu.Unlock()
	return s.addWaiting()
}

// trickle sends the candidates that are found until ctx ends.
func (s *side) trickle(ctx context.Context) {
	s.mu.Lock()
	call, gen := s.call, protocol.Generation(s.offer)
	s.mu.Unlock()
	s.tasks.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case c := <-s.peer.found:
				k := protocol.Candidate{Candidate: c.Candidate, Mid: *c.SDPMid}
				if err := call.SendCandidates(ctx, gen, []protocol.Candidate{k}, false); err != nil && ctx.Err() == nil && protocol.CodeOf(err) != protocol.CodeCallEnded {
					s.fault("candidates: %w", err)
				}
			}
		}
	})
}

// is reports whether the side was told, last, that the call is in a state.
func (s *side) is(state protocol.State) func() bool {
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.state == state
	}
}

func (s *side) sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected
}

func (s *side) end() (n int, last protocol.CallEnded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n = len(s.ends); n > 0 {
		last = s.ends[n-1]
	}
	return n, last
}

func (s *side) close() error {
	_ = s.client.Close()
	s.peer.close()
	s.tasks.Wait()
	return errors.Join(s.faults...)
}
