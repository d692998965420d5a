package phone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// answerWithin bounds how long the server may take for an answer.
const answerWithin = 30 * time.Second

// Answer takes a call that has come, once it has rung for [Options.Wait], and talks
// until it ends, which ctx's end brings about, too. That it rings is for the caller of
// Answer to tell, by [client.Call.Ringing]; so is to read the client's events meanwhile.
//
// If the call ends before it is time to take it, the summary is not Answered. An error is
// as that of [Place].
func Answer(ctx context.Context, call *client.Call, o Options) (Summary, error) {
	if err := o.Validate(); err != nil {
		return Summary{}, err
	}
	p, err := newPhone(call.ICE(), protocol.Callee, o)
	if err != nil {
		return Summary{}, err
	}
	p.story.add(Invited, "")
	sdp, err := p.answer(call.Offer())
	if err != nil {
		return Summary{}, errors.Join(notAnswered(err), p.close())
	}
	if o.Wait > 0 || o.Wait == Forever {
		end, err := p.ring(ctx, call, sdp)
		if end != nil || err != nil {
			if end == nil {
				end = &protocol.CallEnded{}
			} else {
				o.tell("missed", "reason", end.Reason)
			}
			s := p.summary(*end, nil, 0)
			return s, errors.Join(err, p.close())
		}
		if sdp, err = p.freshAnswer(call.Offer(), sdp); err != nil {
			return Summary{}, errors.Join(notAnswered(err), p.close())
		}
	}
	actx, cancel := context.WithTimeout(ctx, answerWithin)
	err = call.Answer(actx, sdp)
	cancel()
	if err != nil {
		return Summary{}, errors.Join(notAnswered(err), p.close())
	}
	p.setAnswered()
	p.player.start()
	o.tell("answered", "from", call.Peer().E164())
	return p.converse(ctx, call)
}

func notAnswered(err error) error { return fmt.Errorf("not answered: %w", err) }

// ring lets the call ring here until it is time to answer with sdp. It returns the end if
// that comes first.
func (p *phone) ring(ctx context.Context, call *client.Call, sdp string) (*protocol.CallEnded, error) {
	p.story.add(Ringing, "")
	p.follow(call)
	var answer <-chan time.Time
	if p.o.Wait != Forever {
		if p.mayPrepare() {
			p.prepare(sdp)
		}
		answer = time.After(p.o.Wait)
	}
	return p.carry(ctx, nil, answer)
}
