package mailbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errGap tells that a message of an answer was lost on the way.
var errGap = errors.New("answer has a gap")

type batchRequest struct {
	From     uint64 `json:"seq"`
	Subject  string `json:"next_by_subj"`
	Batch    int    `json:"batch"`
	MaxBytes int    `json:"max_bytes"`
}

// Read returns the items of b that follow after, in order and without a gap, at
// most limit and at most [MaxBatch]; a limit below 1 means MaxBatch. It returns
// fewer when they are large. more tells that there are further ones.
//
// In a cluster it may not see the newest items yet; see [Store.Tail].
func (s *Store) Read(ctx context.Context, b Box, after uint64, limit int) (items []Item, more bool, err error) {
	defer s.observe(opRead)(&err)
	if err := b.Check(); err != nil || after == math.MaxUint64 {
		return nil, false, err
	}
	if limit < 1 || limit > MaxBatch {
		limit = MaxBatch
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	release, err := acquire(ctx, s.reads)
	if err != nil {
		return nil, false, wrap("mailbox read", err)
	}
	defer release()
	err = insist(ctx, func() error {
		items, more, err = s.batch(ctx, b, batchRequest{after + 1, b.subject(), limit, readBytes})
		return err
	})
	return items, more, wrap("mailbox read", err)
}

// batch is a batch direct get (ADR-31). Any replica answers it.
func (s *Store) batch(ctx context.Context, b Box, q batchRequest) ([]Item, bool, error) {
	m := nats.NewMsg(s.api + "DIRECT.GET." + s.stream(b))
	data, err := json.Marshal(q)
	if err != nil {
		return nil, false, err
	}
	m.Data = data
	r, err := s.in.send(m, func(m *nats.Msg) bool { return status(m) != "" })
	if err != nil {
		return nil, false, err
	}
	msgs, err := s.in.await(ctx, r)
	if err != nil {
		return nil, false, err
	}
	return decodeBatch(msgs)
}

// decodeBatch checks that no message is missing: each names the one before it,
// and the one that ends the batch names the last. A gap that went unnoticed
// would be acknowledged away.
func decodeBatch(msgs []*nats.Msg) (items []Item, more bool, err error) {
	end := msgs[len(msgs)-1]
	switch st := status(end); st {
	case statusEnd:
	case statusNotFound:
		return nil, false, nil
	case statusNoResponders:
		return nil, false, errNobody
	default:
		return nil, false, fmt.Errorf("status %s", st)
	}
	items = make([]Item, 0, len(msgs)-1)
	var last uint64
	for _, m := range msgs {
		if number(m, jetstream.LastSequenceHeader) != last {
			return nil, false, errGap
		}
		if m == end {
			break
		}
		it, err := decodeItem(m)
		if err != nil {
			return nil, false, err
		}
		items, last = append(items, it), it.Seq
	}
	return items, number(end, headerPending) > 0, nil
}

// headerPending is how many further messages match.
const headerPending = "Nats-Num-Pending"

func decodeItem(m *nats.Msg) (Item, error) {
	seq := number(m, jetstream.SequenceHeader)
	if seq == 0 {
		return Item{}, errors.New("item without a sequence number")
	}
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get(headerTime))
	if err != nil {
		return Item{}, fmt.Errorf("time of item: %w", err)
	}
	return Item{Seq: seq, Data: m.Data, Time: at}, nil
}

const headerTime = "Nats-Time-Stamp"

// number is a header's value, 0 when there is none.
func number(m *nats.Msg, header string) uint64 {
	n, err := strconv.ParseUint(m.Header.Get(header), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
