package client

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/protocol"
)

// intents are what a client keeps until it is answered; call is one that rings
// here, made one of this device's own.
var intents = []struct {
	is      protocol.Type
	mine    bool // of a call that this device makes
	intend  func(ctx context.Context, c *Client, ringing, mine *Call) error
	answers any
}{
	{is: protocol.TypeMessageSend, answers: &protocol.MessageStored{ID: "m1"}, intend: func(ctx context.Context, c *Client, _, _ *Call) error {
		_, err := c.Send(ctx, "m1", "+14155550102", "x")
		return err
	}},
	{is: protocol.TypeMessageRead, intend: func(ctx context.Context, c *Client, ringing, _ *Call) error {
		return c.Read(ctx, ringing.Peer(), "m0")
	}},
	{is: protocol.TypeCallInvite, answers: &protocol.CallInvited{Call: "new", State: protocol.Trying}, intend: func(ctx context.Context, c *Client, _, _ *Call) error {
		_, _, err := c.Invite(ctx, "new", "+14155550103", []protocol.Media{protocol.Audio}, "v=0")
		return err
	}},
	{is: protocol.TypeCallAnswer, intend: func(ctx context.Context, _ *Client, k, _ *Call) error { return k.Answer(ctx, "v=0") }},
	{is: protocol.TypeCallReject, intend: func(ctx context.Context, _ *Client, k, _ *Call) error { return k.Reject(ctx) }},
	{is: protocol.TypeCallBusy, intend: func(ctx context.Context, _ *Client, k, _ *Call) error { return k.Busy(ctx) }},
	{is: protocol.TypeCallHangup, intend: func(ctx context.Context, _ *Client, k, _ *Call) error { return k.Hangup(ctx, "") }},
	{is: protocol.TypeCallCandidates, intend: func(ctx context.Context, _ *Client, k, _ *Call) error {
		return k.SendCandidates(ctx, "gen", []protocol.Candidate{{Candidate: "candidate:1"}}, true)
	}},
	{is: protocol.TypeCallDescribe, intend: func(ctx context.Context, _ *Client, k, _ *Call) error { return k.Describe(ctx, "offer", "v=0", false) }},
	{is: protocol.TypeCallReport, intend: func(ctx context.Context, _ *Client, k, _ *Call) error {
		return k.Report(ctx, protocol.CallReport{Media: protocol.MediaConnected})
	}},
	{is: protocol.TypeCallCancel, mine: true, intend: func(ctx context.Context, _ *Client, _, k *Call) error { return k.Cancel(ctx) }},
}

// reconnections are how a session may go on.
var reconnections = []struct {
	name, host string
	welcome    protocol.Welcome
}{
	{"on the same node", "a", protocol.Welcome{Session: "s1", Resumed: protocol.ResumedFull}},
	{"on another node", "b", protocol.Welcome{Session: "s2", Resumed: protocol.ResumedState, Calls: []protocol.CallSnapshot{
		{Call: "ringing", Role: protocol.Callee, State: protocol.Ringing, Media: []protocol.Media{protocol.Audio}, SDP: "v=0", RingMS: 45_000},
		{Call: "mine", Role: protocol.Caller, State: protocol.Ringing, Media: []protocol.Media{protocol.Audio}, RingMS: 45_000},
	}}},
	{"where nothing is known of it", "b", protocol.Welcome{Session: "s2", Resumed: protocol.ResumedNone}},
}

// Whatever a client intends is asked for, in the same words and under the same
// id, until it is answered: when there was no connection, when it broke before the
// answer came, once or more, on whichever node.
func TestIntentsSurvive(t *testing.T) {
	for _, in := range intents {
		for _, cuts := range []int{0, 1, 3} { // 0: there is no connection to begin with
			for _, on := range reconnections {
				name := []string{0: "down", 1: "cut", 3: "cut thrice"}[cuts] + "/" + on.name
				t.Run(string(in.is)+"/"+name, func(t *testing.T) {
					inTown(t, func(t *testing.T, n *nodes, o Options) {
						c, p, ringing, mine := n.inCalls(o)
						defer c.Close()
						if cuts == 0 {
							p.ws.Close()
							synctest.Wait()
							n.only(on.host)
						}
						done := make(chan error, 1)
						go func() { done <- in.intend(t.Context(), c, ringing, mine) }()
						var first protocol.Frame
						if cuts > 0 {
							first = p.next(in.is)
						} else {
							synctest.Wait()
						}
						for i := range max(cuts, 1) {
							if cuts > 0 {
								n.only(on.host)
								p.ws.Close()
							}
							p = n.acceptAt(on.host)
							welcome := on.welcome
							welcome.Calls = slices.Clone(welcome.Calls)
							for i := range welcome.Calls {
								welcome.Calls[i].Peer = number(t, "+14155550102")
							}
							p.welcome(welcome)
							again := p.next(in.is)
							if i > 0 || cuts > 0 {
								if again.ID != first.ID || string(again.D) != string(first.D) {
									t.Errorf("again: %s %s, first %s %s", again.ID, again.D, first.ID, first.D)
								}
							}
							first = again
						}
						select {
						case err := <-done:
							t.Fatalf("done without an answer: %v", err)
						default:
						}
						p.ok(first.ID, in.answers)
						if err := <-done; err != nil {
							t.Error(err)
						}
						p.notAgain(in.is)
					})
				})
			}
		}
	}
}

// inCalls connects a client to node a, on which a call rings and to which it
// makes another.
func (n *nodes) inCalls(o Options) (c *Client, p *peer, ringing, mine *Call) {
	t := n.t
	t.Helper()
	came := n.dialled(o)
	p = n.acceptAt("a")
	p.welcome(protocol.Welcome{Session: "s1"})
	c = <-came
	p.tell(1, incoming("ringing"))
	ringing = wantEvent[Incoming](t, c).Call
	invited := make(chan *Call)
	go func() {
		k, _, err := c.Invite(t.Context(), "mine", "+14155550102", []protocol.Media{protocol.Audio}, "v=0")
		if err != nil {
			t.Error(err)
		}
		invited <- k
	}()
	p.ok(p.next(protocol.TypeCallInvite).ID, &protocol.CallInvited{Call: "mine", State: protocol.Trying})
	return c, p, ringing, <-invited
}

// notAgain fails if the client sends another of the type.
func (p *peer) notAgain(is protocol.Type) {
	p.t.Helper()
	time.Sleep(20 * time.Second)
	synctest.Wait()
	for len(p.frames) > 0 {
		if f := <-p.frames; f.T == is {
			p.t.Errorf("sent once more: %s", f.D)
		}
	}
}

// What was intended while there was no connection arrives in the order in which
// it was.
func TestIntentsInOrder(t *testing.T) {
	inTown(t, func(t *testing.T, n *nodes, o Options) {
		c, p, ringing, _ := n.inCalls(o)
		defer c.Close()
		p.ws.Close()
		synctest.Wait()
		var want []protocol.Type
		for _, in := range intents {
			if in.mine {
				continue
			}
			want = append(want, in.is)
			go func() { _ = in.intend(t.Context(), c, ringing, nil) }()
			synctest.Wait()
		}
		p = n.acceptAt("a")
		p.welcome(protocol.Welcome{Session: "s1", Resumed: protocol.ResumedFull})
		for _, is := range want {
			if f := <-p.frames; f.T != is {
				t.Errorf("%s, want %s", f.T, is)
			}
		}
	})
}
