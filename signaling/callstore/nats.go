package callstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Error codes of JetStream that its client package does not name.
const (
	codeTooLarge   jetstream.ErrorCode = 10054
	codeWrongLast  jetstream.ErrorCode = 10071 // somebody else was faster
	codeInFlight   jetstream.ErrorCode = 10164 // undecided: a change of this key is under way
	codeNoMessage  jetstream.ErrorCode = 10037
	statusNotFound                     = "404"
)

// Headers by which key-value clients know that a key is gone.
const (
	headerOperation = "KV-Operation"
	headerRollup    = "Nats-Rollup"
)

// maxTries bounds how often Create looks at what is in its way.
const maxTries = 10

func apiPrefix(o jetstream.JetStreamOptions) string {
	switch {
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	}
	return jetstream.DefaultAPIPrefix
}

func (s *Store) subject(key string) string { return "$KV." + s.c.Bucket + "." + key }

func (s *Store) record(key string, data []byte, ttl time.Duration) *nats.Msg {
	m := nats.NewMsg(s.subject(key))
	m.Data = data
	setLife(m, Life(ttl))
	return m
}

// tombstone takes a record's place for a moment, because only a message can be
// compared and set.
func (s *Store) tombstone(key string) *nats.Msg {
	m := nats.NewMsg(s.subject(key))
	m.Header[headerOperation] = []string{"PURGE"}
	m.Header[headerRollup] = []string{jetstream.MsgRollupSubject}
	setLife(m, markerLife)
	return m
}

func setLife(m *nats.Msg, life time.Duration) {
	m.Header[jetstream.MsgTTLHeader] = []string{strconv.FormatInt(int64(life/time.Second), 10) + "s"}
}

// swap stores m if the newest message of its subject has the number expect. It
// repeats what certainly did not happen: nobody served the bucket, or another
// change of the key was still under way and may yet fail. It ends with ctx.
func (s *Store) swap(ctx context.Context, m *nats.Msg, expect uint64) (rev uint64, err error) {
	m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(expect, 10)}
	err = insist(ctx, func() error {
		rev, err = s.swapOnce(ctx, m)
		return err
	})
	return rev, err
}

// errAgain tells that nothing happened, and that it may be different soon.
var errAgain = errors.New("not now")

func (s *Store) swapOnce(ctx context.Context, m *nats.Msg) (uint64, error) {
	ack, err := s.publish(ctx, m, jetstream.WithRetryAttempts(0))
	var ae *jetstream.APIError
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return 0, fmt.Errorf("%w: %w", errAgain, err)
	case !errors.As(err, &ae):
		return 0, err
	}
	switch ae.ErrorCode {
	case codeWrongLast:
		return 0, ErrConflict
	case codeInFlight:
		return 0, fmt.Errorf("%w: %w", errAgain, err)
	case codeTooLarge:
		return 0, ErrTooLarge
	}
	return 0, err
}

// insist repeats what certainly did not happen, until ctx ends: a cluster that
// lost the leader of a stream needs seconds to elect another.
func insist(ctx context.Context, do func() error) error {
	const least, most = 2 * time.Millisecond, 250 * time.Millisecond
	for wait := least; ; wait = min(2*wait, most) {
		err := do()
		if !errors.Is(err, errAgain) {
			return err
		}
		select {
		case <-time.After(wait + rand.N(wait)):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// entry is the newest message of a key: a record, or the trace of one.
type entry struct {
	rev  uint64 // 0 when there is nothing
	data []byte
	live bool
}

// last asks the leader, or the only replica, which answers faster.
func (s *Store) last(ctx context.Context, subject string) (e entry, err error) {
	ask := s.lastDirect
	if s.replicated {
		ask = s.lastOfLeader
	}
	err = insist(ctx, func() error {
		e, err = ask(ctx, subject)
		return err
	})
	return e, err
}

// readAttempts is how often a read may be sent within the time that there is: a
// leader that dies, or is paused, takes what it was asked with it.
const readAttempts = 4

// request asks the JetStream API something that may be asked twice.
func (s *Store) request(ctx context.Context, what string, body []byte) (*nats.Msg, error) {
	attempt, cancel := context.WithTimeout(ctx, s.c.Timeout/readAttempts)
	defer cancel()
	m, err := s.nc.RequestWithContext(attempt, s.api+what, body)
	if errors.Is(err, nats.ErrNoResponders) || err != nil && attempt.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("%w: %w", errAgain, err)
	}
	return m, err
}

// unavailable is the code of errors that pass, as while there is no leader.
const unavailable = 503

func (s *Store) lastDirect(ctx context.Context, subject string) (entry, error) {
	m, err := s.request(ctx, "DIRECT.GET.KV_"+s.c.Bucket+"."+subject, nil)
	if err != nil {
		return entry{}, err
	}
	if st := m.Header.Get("Status"); st == statusNotFound {
		return entry{}, nil
	} else if st != "" {
		return entry{}, fmt.Errorf("status %s", st)
	}
	rev, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return entry{}, fmt.Errorf("revision: %w", err)
	}
	return newEntry(rev, m.Header, m.Data), nil
}

// page lists subjects from the one at offset on, and how many there are in all.
func (s *Store) page(ctx context.Context, filter string, offset int) (subjects []string, all int, err error) {
	q, err := json.Marshal(map[string]any{"subjects_filter": filter, "offset": offset})
	if err != nil {
		return nil, 0, err
	}
	var a struct {
		Error *jetstream.APIError `json:"error"`
		Total int                 `json:"total"`
		State struct {
			Subjects map[string]uint64 `json:"subjects"`
		} `json:"state"`
	}
	err = insist(ctx, func() error {
		m, err := s.request(ctx, "STREAM.INFO.KV_"+s.c.Bucket, q)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(m.Data, &a); err != nil {
			return fmt.Errorf("decode answer: %w", err)
		}
		if a.Error != nil && a.Error.Code == unavailable {
			return fmt.Errorf("%w: %w", errAgain, a.Error)
		}
		return nil
	})
	if err == nil && a.Error != nil {
		err = a.Error
	}
	return slices.Collect(maps.Keys(a.State.Subjects)), a.Total, err
}

type storedMessage struct {
	Error   *jetstream.APIError `json:"error"`
	Message struct {
		Seq    uint64 `json:"seq"`
		Header []byte `json:"hdrs"`
		Data   []byte `json:"data"`
	} `json:"message"`
}

func (s *Store) lastOfLeader(ctx context.Context, subject string) (entry, error) {
	q, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return entry{}, err
	}
	m, err := s.request(ctx, "STREAM.MSG.GET.KV_"+s.c.Bucket, q)
	if err != nil {
		return entry{}, err
	}
	var a storedMessage
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return entry{}, fmt.Errorf("decode answer: %w", err)
	}
	if a.Error != nil && a.Error.ErrorCode == codeNoMessage {
		return entry{}, nil
	} else if a.Error != nil && a.Error.Code == unavailable {
		return entry{}, fmt.Errorf("%w: %w", errAgain, a.Error)
	} else if a.Error != nil {
		return entry{}, a.Error
	}
	h, err := nats.DecodeHeadersMsg(a.Message.Header)
	if err != nil && len(a.Message.Header) > 0 {
		return entry{}, fmt.Errorf("decode headers: %w", err)
	}
	return newEntry(a.Message.Seq, h, a.Message.Data), nil
}

func newEntry(rev uint64, h nats.Header, data []byte) entry {
	gone := h.Get(headerOperation) != "" || h.Get(jetstream.MarkerReasonHeader) != ""
	return entry{rev: rev, data: data, live: !gone}
}
