package phone

import (
	"context"
	"errors"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// iceWithin bounds the wait for the servers of a call.
const iceWithin = 15 * time.Second

// Place calls a number and talks until the call ends, which ctx's end brings about, too.
// It reads the client's events meanwhile: texts stay in the mailbox, other calls hear
// that this device is busy. When both sides call each other at once, it takes the call
// that comes of it.
//
// The summary's Reason says how the call ended. An error is a call that did not begin,
// such as one with a [*protocol.Error] that was refused, or that was lost with its
// session; the summary then has what there was.
func Place(ctx context.Context, c *client.Client, number string, o Options) (Summary, error) {
	if err := o.Validate(); err != nil {
		return Summary{}, err
	}
	id := client.NewID()
	ictx, cancel := context.WithTimeoutCause(ctx, iceWithin, errors.New("the server gave no ICE servers in time"))
	ice, err := c.ICETo(ictx, id, number)
	cancel()
	if err != nil {
		return Summary{}, err
	}
	p, err := newPhone(ice, protocol.Caller, o)
	if err != nil {
		return Summary{}, err
	}
	other := readOtherCalls(ctx, c, &o)
	defer other.stop()
	call, reply, err := p.invite(ctx, c, id, number, other)
	if err != nil {
		return Summary{}, errors.Join(err, p.close())
	}
	if reply.Merged != "" {
		s, err := takeMerged(ctx, other, o)
		return s, errors.Join(err, p.close())
	}
	o.tell("calling", "number", reply.To.E164(), "call", id)
	return p.converse(ctx, call)
}

// invite offers the call to a number.
func (p *phone) invite(ctx context.Context, c *client.Client, id, number string, other *otherCalls) (*client.Call, client.InviteReply, error) {
	sdp, err := p.offer()
	if err != nil {
		return nil, client.InviteReply{}, err
	}
	call, reply, err := c.Invite(ctx, id, number, []protocol.Media{protocol.Audio}, sdp)
	other.invited <- reply.Merged
	p.story.add(Invited, "")
	return call, reply, err
}

// mergedWithin bounds the wait for the call that an invite was merged into.
const mergedWithin = 10 * time.Second

// takeMerged answers the call that the other side has begun at the same moment.
func takeMerged(ctx context.Context, other *otherCalls, o Options) (Summary, error) {
	o.tell("both called at once")
	o.Wait = 0
	late := time.NewTimer(mergedWithin)
	defer late.Stop()
	select {
	case call := <-other.merged:
		return Answer(ctx, call, o)
	case <-late.C:
		return Summary{}, errors.New("the other side's call did not come")
	case <-ctx.Done():
		return Summary{}, ctx.Err()
	}
}
