package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Dead is a push that could not be brought, for operators. It holds nothing by
// which the device could be reached.
type Dead struct {
	Seq     uint64    `json:"seq"` // its place in the list
	ID      string    `json:"id"`
	Reason  Reason    `json:"reason"`
	Account string    `json:"account"`
	Device  uint32    `json:"device"`
	Kind    Kind      `json:"kind"`
	Service string    `json:"service,omitempty"` // the push service's host
	Made    time.Time `json:"made"`
	Tried   int       `json:"tried"`
	Ended   time.Time `json:"ended"`
	Why     string    `json:"why"`
}

// keep writes a push down that is given up.
func (q *Queue) keep(ctx context.Context, j job, tried int, why error) error {
	d := Dead{
		ID: j.ID, Reason: j.Reason, Account: j.Account, Device: j.Device, Kind: j.Target.Kind, Made: j.Made,
		Tried: tried, Ended: time.Now().UTC().Truncate(time.Millisecond), Why: why.Error(),
	}
	if u, err := url.Parse(j.Target.Endpoint); err == nil {
		d.Service = u.Hostname()
	}
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	subject := "pushdead.unknown.0"
	if validAccount(j.Account) {
		subject = fmt.Sprintf("pushdead.%s.%d", j.Account, j.Device)
	}
	_, err = q.js.Publish(ctx, subject, data, jetstream.WithMsgID(j.ID+fmt.Sprint(tried)))
	return err
}

// maxDead is the most that one call of [Queue.Dead] returns.
const maxDead = 500

// Dead lists what could not be brought, oldest first, at most limit after the
// place after; 0 begins at the beginning. Of one account, if it is not "".
func (q *Queue) Dead(ctx context.Context, account string, after uint64, limit int) ([]Dead, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	filter := "pushdead.>"
	if account != "" {
		if !validAccount(account) {
			return nil, nil
		}
		filter = "pushdead." + account + ".*"
	}
	s, err := q.js.Stream(ctx, streamDead)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	all := []Dead{}
	for len(all) < min(limit, maxDead) {
		m, err := s.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		var d Dead
		if err := json.Unmarshal(m.Data, &d); err == nil {
			d.Seq = m.Sequence
			all = append(all, d)
		}
		after = m.Sequence
	}
	return all, nil
}

// ErrNoPush says that the list has nothing at a place.
var ErrNoPush = errors.New("no such push")

// DeadAt returns what is at a place of the list, or [ErrNoPush].
func (q *Queue) DeadAt(ctx context.Context, seq uint64) (Dead, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var d Dead
	s, err := q.js.Stream(ctx, streamDead)
	if err != nil {
		return d, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m, err := s.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return d, ErrNoPush
	case err != nil:
		return d, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case json.Unmarshal(m.Data, &d) != nil:
		return d, ErrNoPush
	}
	d.Seq = m.Sequence
	return d, nil
}

// DropDead removes what is at a place of the list, or returns [ErrNoPush].
func (q *Queue) DropDead(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := q.js.Stream(ctx, streamDead)
	if err == nil {
		err = s.DeleteMsg(ctx, seq)
	}
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful):
		return ErrNoPush
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}
