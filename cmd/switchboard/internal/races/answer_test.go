package races

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// answered is one race: several devices of an account answer one call, and one of
// them is to win.
func answered(ctx context.Context, t *tally, caller *phone, devices []*phone) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	id := client.NewID()
	call, _, err := caller.client.Invite(ctx, id, devices[0].number, []protocol.Media{protocol.Audio}, offer)
	if err != nil {
		return fmt.Errorf("invite: %w", err)
	}
	legs := make([]*client.Call, len(devices))
	for i, d := range devices {
		if legs[i], err = d.rung(ctx, func(in client.Incoming) bool { return in.Call.ID == id }); err != nil {
			return err
		}
	}
	var tasks sync.WaitGroup
	errs, from, to := make([]error, len(legs)), make([]time.Time, len(legs)), make([]time.Time, len(legs))
	for i, leg := range legs {
		delay := soon()
		tasks.Go(func() {
			pause(ctx, delay)
			from[i] = time.Now()
			errs[i] = leg.Answer(ctx, answer)
			to[i] = time.Now()
		})
	}
	tasks.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			return errors.New("two devices have won")
		case err == nil:
			winner = i
		case protocol.CodeOf(err) != protocol.CodeCallEnded:
			return fmt.Errorf("an answer was refused otherwise: %w", err)
		}
	}
	if winner < 0 {
		return errors.New("no device has won")
	}
	met := false
	for i := range legs {
		met = met || i != winner && from[i].Before(to[winner]) && from[winner].Before(to[i])
	}
	t.met(met)
	t.count(fmt.Sprintf("won by device %d", winner+1))
	if _, err := next[client.Answered](ctx, call); err != nil {
		return err
	}
	for i, leg := range legs {
		if i == winner {
			continue
		}
		if err := over(ctx, leg, protocol.ReasonAnsweredElsewhere); err != nil {
			return err
		}
		t.count("heard that it was answered elsewhere")
	}
	return hangUp(ctx, t, caller, devices[winner], call, legs[winner])
}
