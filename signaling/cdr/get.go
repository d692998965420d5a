package cdr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// getRequest is a batch direct get (ADR-31): of one filter the messages from a
// number on, or of several the last of each subject. Any replica answers it.
type getRequest struct {
	Seq       uint64     `json:"seq,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	Next      string     `json:"next_by_subj,omitempty"`
	Last      []string   `json:"multi_last,omitempty"`
	Batch     int        `json:"batch"`
	MaxBytes  int        `json:"max_bytes"`
}

const (
	// batch is how many messages one request returns at most, in all of batchBytes.
	batch      = 1024
	batchBytes = 2 << 20
)

// statuses of answers without a body (ADR-31).
const (
	statusEnd      = "204"
	statusNotFound = "404"
	statusTooMany  = "413"
)

var (
	// errTooMany says that more than 1,024 messages match several filters.
	errTooMany = errors.New("too many match")
	// errGap says that a message of an answer was lost on the way.
	errGap = errors.New("answer has a gap")
)

// stored is a message of the stream.
type stored struct {
	seq  uint64
	at   time.Time // when it was stored
	data []byte
}

// ask sends a request. more tells that there are further messages than those that
// it returns.
func (s *Store) ask(ctx context.Context, q getRequest) (got []stored, more bool, err error) {
	q.MaxBytes = batchBytes
	body, err := json.Marshal(q)
	if err != nil {
		return nil, false, err
	}
	inbox := s.conn.NewInbox()
	sub, err := s.conn.SubscribeSync(inbox)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails once the connection is closed, which ends it, too
	if err := s.conn.PublishRequest(s.get, inbox, body); err != nil {
		return nil, false, err
	}
	var last uint64
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, false, err
		}
		switch status := m.Header.Get("Status"); {
		case len(m.Data) > 0 || status == "":
		case status == statusNotFound:
			return nil, false, nil
		case status == statusTooMany:
			return nil, false, errTooMany
		case status != statusEnd:
			return nil, false, fmt.Errorf("status %s", status)
		case number(m, jetstream.LastSequenceHeader) != last:
			return nil, false, errGap
		default:
			return got, number(m, "Nats-Num-Pending") > 0, nil
		}
		if number(m, jetstream.LastSequenceHeader) != last {
			return nil, false, errGap
		}
		at, err := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
		if err != nil {
			return nil, false, fmt.Errorf("time of record: %w", err)
		}
		last = number(m, jetstream.SequenceHeader)
		got = append(got, stored{last, at, m.Data})
	}
}

// number is a header's value, 0 when there is none.
func number(m *nats.Msg, header string) uint64 {
	n, err := strconv.ParseUint(m.Header.Get(header), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
