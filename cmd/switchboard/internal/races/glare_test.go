package races

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// within is how far apart the requests of a race may be: some ten times as long as
// one takes alone, so that they meet in all of its steps, and some do not.
const within = 50 * time.Millisecond

// soon is a random time, more often a short one.
func soon() time.Duration { return rand.N(1 + rand.N(within)) }

// invited is what became of one phone's invite.
type invited struct {
	id       string
	from, to time.Time // of the request
	call     *client.Call
	merged   string
	err      error
}

// both has two phones call each other, each after a random delay, for as long as
// patient says. Beside each, beside is called.
func both(ctx context.Context, a, b *phone, patient func() time.Duration, beside func(p *phone)) (got [2]invited) {
	var tasks sync.WaitGroup
	for i, pair := range [][2]*phone{{a, b}, {b, a}} {
		delay := soon()
		tasks.Go(func() {
			from, to := pair[0], pair[1]
			pause(ctx, delay)
			tasks.Go(func() { beside(from) })
			ictx, cancel := context.WithTimeout(ctx, patient())
			defer cancel()
			g := &got[i]
			g.id, g.from = client.NewID(), time.Now()
			var reply client.InviteReply
			g.call, reply, g.err = from.client.Invite(ictx, g.id, to.number, []protocol.Media{protocol.Audio}, offer)
			g.to, g.merged = time.Now(), reply.Merged
		})
	}
	tasks.Wait()
	return got
}

// glare is one race: two phones call each other, and are to end up in one call.
func glare(ctx context.Context, t *tally, a, b *phone, cut bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got := both(ctx, a, b, func() time.Duration { return patience }, func(p *phone) {
		if cut && rand.IntN(2) == 0 {
			pause(ctx, soon())
			p.cut()
		}
	})
	for _, g := range got {
		if g.err != nil {
			return fmt.Errorf("invite: %w", g.err)
		}
	}
	t.met(got[0].from.Before(got[1].to) && got[1].from.Before(got[0].to))
	caller, callee, x := a, b, got[0]
	switch {
	case got[0].merged != "" && got[1].merged != "":
		return errors.New("both invites were merged")
	case got[0].merged == "" && got[1].merged == "":
		return errors.New("neither invite was merged")
	case got[0].merged != "":
		caller, callee, x = b, a, got[1]
		t.count("merged: the first phone's")
	default:
		t.count("merged: the second phone's")
	}
	call, err := callee.rung(ctx, func(in client.Incoming) bool { return in.Merged && in.Call.ID == x.id })
	if err != nil {
		return fmt.Errorf("the merged call: %w", err)
	}
	if err := call.Answer(ctx, answer); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if _, err := next[client.Answered](ctx, x.call); err != nil {
		return err
	}
	t.count("connected")
	return hangUp(ctx, t, caller, callee, x.call, call)
}

// hangUp ends a call by either side, and both must hear of it. Neither is merged
// into anything else.
func hangUp(ctx context.Context, t *tally, caller, callee *phone, a, b *client.Call) error {
	ending := []*client.Call{a, b}[rand.IntN(2)]
	if err := ending.Hangup(ctx, ""); err != nil {
		return fmt.Errorf("hang up: %w", err)
	}
	for _, call := range []*client.Call{a, b} {
		if err := over(ctx, call, protocol.ReasonHangup); err != nil {
			return err
		}
	}
	t.count("ended on both sides")
	for _, p := range []*phone{caller, callee} {
		for len(p.calls) > 0 {
			if in := <-p.calls; in.Merged {
				return errors.New("another merged call came")
			}
		}
	}
	return nil
}

// cancelled is one race: two phones call each other, and both give up at that
// very moment. Nothing may be left of it.
func cancelled(ctx context.Context, t *tally, a, b *phone) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got := both(ctx, a, b, func() time.Duration { return soon() + soon() }, func(*phone) {})
	phones := []*phone{a, b}
	for i, g := range got {
		switch {
		case errors.Is(g.err, context.DeadlineExceeded):
			t.count("given up before the answer to the invite")
			continue
		case g.err != nil:
			return fmt.Errorf("invite: %w", g.err)
		}
		call := g.call
		if t.count("given up after it"); g.merged != "" {
			var err error
			t.count("given up when it had been merged")
			if call, err = phones[i].rung(ctx, func(in client.Incoming) bool { return in.Call.ID == g.merged }); err != nil {
				return fmt.Errorf("the merged call: %w", err)
			}
		}
		if err := call.Hangup(ctx, ""); err != nil {
			return fmt.Errorf("hang up: %w", err)
		}
	}
	for _, p := range phones {
		if err := p.idle(ctx); err != nil {
			return err
		}
	}
	t.count("nothing left")
	for _, p := range phones {
		for len(p.calls) > 0 {
			if in := <-p.calls; in.Merged {
				if _, err := next[client.Answered](ctx, in.Call); !errors.Is(err, errEnded) {
					return fmt.Errorf("a merged call was told to who had given up: %w", err)
				}
			}
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
