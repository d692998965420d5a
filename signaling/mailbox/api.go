package mailbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// openTimeout bounds Open at least: a cluster that starts elects first.
const openTimeout = 30 * time.Second

// Error codes of JetStream that its client package does not name.
const (
	codeTooLarge   jetstream.ErrorCode = 10054
	codeNotStored  jetstream.ErrorCode = 10077 // the store refused; the description says why
	codeInProcess  jetstream.ErrorCode = 10158 // the same ID is being stored right now
	codeNoMessage  jetstream.ErrorCode = 10037
	descriptionMax                     = "maximum messages per subject exceeded"
)

// statuses of answers without a body (ADR-31).
const (
	statusEnd          = "204"
	statusNotFound     = "404"
	statusNoResponders = "503"
)

// errNobody tells that no server serves the stream at the moment, so that
// nothing happened and asking again is safe.
var errNobody = errors.New("no server for the stream")

func apiPrefix(o jetstream.JetStreamOptions) string {
	switch {
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	}
	return jetstream.DefaultAPIPrefix
}

// status is the code of an answer that has no body, or "".
func status(m *nats.Msg) string {
	if len(m.Data) > 0 {
		return ""
	}
	return m.Header.Get("Status")
}

// ask sends one request that has one answer.
func (s *Store) ask(ctx context.Context, subject string, body any) (*nats.Msg, error) {
	m := nats.NewMsg(subject)
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		m.Data = data
	}
	r, err := s.in.send(m, one)
	if err != nil {
		return nil, err
	}
	msgs, err := s.in.await(ctx, r)
	if err != nil {
		return nil, err
	}
	if status(msgs[0]) == statusNoResponders {
		return nil, errNobody
	}
	return msgs[0], nil
}

// insist repeats what did not happen, or may happen twice, until ctx ends: a
// cluster that lost the leader of a stream needs seconds to elect another.
func insist(ctx context.Context, do func() error) error {
	const least, most = 5 * time.Millisecond, 250 * time.Millisecond
	for wait := least; ; wait = min(2*wait, most) {
		err := do()
		if !errors.Is(err, errNobody) {
			return err
		}
		select {
		case <-time.After(wait + rand.N(wait)):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

type purgeRequest struct {
	Filter string `json:"filter"`
	Below  uint64 `json:"seq"`
}

type apiResponse struct {
	Error   *jetstream.APIError `json:"error"`
	Message *struct {
		Seq    uint64 `json:"seq"`
		Header []byte `json:"hdrs"`
	} `json:"message"`
	State struct {
		Subjects map[string]int `json:"subjects"`
	} `json:"state"`
}

// purge removes what lies below a sequence number.
func (s *Store) purge(ctx context.Context, b Box, below uint64) error {
	return s.purgeFrom(ctx, s.stream(b), purgeRequest{b.subject(), below})
}

func (s *Store) purgeFrom(ctx context.Context, stream string, r purgeRequest) error {
	release, err := acquire(ctx, s.calls)
	if err != nil {
		return err
	}
	defer release()
	return insist(ctx, func() error {
		_, err := s.call(ctx, "STREAM.PURGE."+stream, r)
		return err
	})
}

// count asks for the state of the stream, of which it wants one subject.
func (s *Store) count(ctx context.Context, b Box) (n int, err error) {
	release, err := acquire(ctx, s.calls)
	if err != nil {
		return 0, err
	}
	defer release()
	err = insist(ctx, func() error {
		r, err := s.call(ctx, "STREAM.INFO."+s.stream(b), map[string]string{"subjects_filter": b.subject()})
		n = r.State.Subjects[b.subject()]
		return err
	})
	return n, err
}

// tail asks the leader, or the only replica, which answers faster.
func (s *Store) tail(ctx context.Context, b Box) (seq uint64, err error) {
	release, err := acquire(ctx, s.calls)
	if err != nil {
		return 0, err
	}
	defer release()
	err = insist(ctx, func() error {
		if s.replicated {
			seq, err = s.leaderTail(ctx, b)
		} else {
			seq, err = s.directTail(ctx, b)
		}
		return err
	})
	return seq, err
}

func (s *Store) leaderTail(ctx context.Context, b Box) (uint64, error) {
	r, err := s.call(ctx, "STREAM.MSG.GET."+s.stream(b), map[string]string{"last_by_subj": b.subject()})
	var ae *jetstream.APIError
	switch {
	case errors.As(err, &ae) && ae.ErrorCode == codeNoMessage:
		return 0, nil
	case err != nil:
		return 0, err
	case r.Message == nil:
		return 0, errors.New("answer without a message")
	}
	return r.Message.Seq, nil
}

func (s *Store) directTail(ctx context.Context, b Box) (uint64, error) {
	m, err := s.ask(ctx, s.api+"DIRECT.GET."+s.stream(b)+"."+b.subject(), nil)
	if err != nil {
		return 0, err
	}
	switch st := status(m); st {
	case "":
	case statusNotFound:
		return 0, nil
	default:
		return 0, fmt.Errorf("status %s", st)
	}
	return strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
}

// callAttempts is how often the API may be asked within the time that there is:
// a leader that dies, or is paused, takes what it was asked with it.
const callAttempts = 4

// unavailable is the code of errors that pass, as while there is no leader.
const unavailable = 503

// call asks the JetStream API something that may be asked twice, and returns its
// error, if any.
func (s *Store) call(ctx context.Context, what string, body any) (apiResponse, error) {
	var r apiResponse
	attempt, cancel := context.WithTimeout(ctx, s.c.Timeout/callAttempts)
	defer cancel()
	m, err := s.ask(attempt, s.api+what, body)
	if err != nil && attempt.Err() != nil && ctx.Err() == nil {
		return r, fmt.Errorf("%w: %w", errNobody, err)
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return r, fmt.Errorf("decode answer: %w", err)
	}
	if r.Error != nil && r.Error.Code == unavailable {
		return r, fmt.Errorf("%w: %w", errNobody, r.Error)
	}
	if r.Error != nil {
		return r, r.Error
	}
	return r, nil
}
