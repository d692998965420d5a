package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// bucket is a key-value bucket, spoken to directly: the client's own API
// neither renews a key with a life nor reads several at once.
type bucket struct {
	name    string
	nc      *nats.Conn
	js      jetstream.JetStream
	replies *replies
	timeout time.Duration
}

// entry is a value and its revision.
type entry struct {
	key  string // empty in that of a removed key
	data []byte
	rev  uint64
}

// Error codes of JetStream.
const (
	codeWrongLast jetstream.ErrorCode = 10071 // the key has another revision
	codeInFlight  jetstream.ErrorCode = 10164 // a change of the key is under way
	codeNoMessage jetstream.ErrorCode = 10037
)

// errRevision says that the key has another revision than expected.
var errRevision = errors.New("another revision")

func (b *bucket) subject(key string) string { return "$KV." + b.name + "." + key }

// get reads a key from any replica, which in a cluster may lag.
func (b *bucket) get(ctx context.Context, key string) (entry, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	m, err := b.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET.KV_"+b.name+"."+b.subject(key), nil)
	if err != nil {
		return entry{}, unavailable(err)
	}
	return b.entryOf(m)
}

// getLeader reads a key as the leader has it. The entry of a removed key comes
// with ErrNotFound, and has no more than its revision.
func (b *bucket) getLeader(ctx context.Context, key string) (e entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	for {
		e, err = b.getLeaderOnce(ctx, key)
		var api *jetstream.APIError
		if !errors.As(err, &api) || api.Code != codePasses || sleep(ctx, electing) != nil {
			return e, err
		}
	}
}

const (
	// codePasses is the code of errors that pass, as while there is no leader.
	codePasses = 503
	// electing is how long to wait until a leader is asked for again.
	electing = 100 * time.Millisecond
)

func (b *bucket) getLeaderOnce(ctx context.Context, key string) (entry, error) {
	req, _ := json.Marshal(map[string]string{"last_by_subj": b.subject(key)})
	m, err := b.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET.KV_"+b.name, req)
	if err != nil {
		return entry{}, unavailable(err)
	}
	var resp struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Seq  uint64 `json:"seq"`
			Hdrs []byte `json:"hdrs"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return entry{}, fmt.Errorf("answer of %s: %w", b.name, err)
	}
	switch {
	case resp.Error != nil && resp.Error.ErrorCode == codeNoMessage:
		return entry{}, ErrNotFound
	case resp.Error != nil:
		return entry{}, unavailable(resp.Error)
	}
	if len(resp.Message.Hdrs) > 0 {
		h, err := nats.DecodeHeadersMsg(resp.Message.Hdrs)
		if err != nil {
			return entry{}, fmt.Errorf("answer of %s: %w", b.name, err)
		}
		if removed(h) {
			return entry{rev: resp.Message.Seq}, ErrNotFound
		}
	}
	return entry{key, resp.Message.Data, resp.Message.Seq}, nil
}

// list reads every key that matches pattern, at most 1,024, in one request.
func (b *bucket) list(ctx context.Context, pattern string) ([]entry, error) {
	return b.lists(ctx, []string{pattern})
}

// lists is list for several patterns, which must not overlap.
func (b *bucket) lists(ctx context.Context, patterns []string) ([]entry, error) {
	subjects := make([]string, len(patterns))
	for i, p := range patterns {
		subjects[i] = b.subject(p)
	}
	req, _ := json.Marshal(map[string][]string{"multi_last": subjects})
	entries, _, err := b.collect(ctx, req)
	return entries, err
}

// some reads up to n entries, from a revision on. Any pattern but this one would
// have the server look through many.
func (b *bucket) some(ctx context.Context, from uint64, n int) ([]entry, error) {
	req, _ := json.Marshal(map[string]any{"seq": max(from, 1), "next_by_subj": ">", "batch": n})
	entries, _, err := b.collect(ctx, req)
	return entries, err
}

// scan reads up to n entries from a revision on, in their order, and returns
// the revision to go on with, 0 at the end. It walks through the whole bucket:
// it is for the janitor alone.
func (b *bucket) scan(ctx context.Context, from uint64, n int) (entries []entry, next uint64, err error) {
	req, _ := json.Marshal(map[string]any{"seq": from, "next_by_subj": b.subject(">"), "batch": n})
	entries, last, err := b.collect(ctx, req)
	if err != nil || last == 0 {
		return nil, 0, err
	}
	return entries, last + 1, nil
}

// collect makes a request that has several answers. last is the highest
// revision among them, marks of removed keys included.
func (b *bucket) collect(ctx context.Context, req []byte) (entries []entry, last uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	msgs, err := b.replies.collect(ctx, "$JS.API.DIRECT.GET.KV_"+b.name, req)
	if err != nil {
		return nil, 0, unavailable(err)
	}
	for _, m := range msgs {
		e, err := b.entryOf(m)
		last = max(last, e.rev)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		entries = append(entries, e)
	}
	return entries, last, nil
}

// entryOf reads an answer. The entry of a removed key comes with ErrNotFound,
// and has no more than its revision.
func (b *bucket) entryOf(m *nats.Msg) (entry, error) {
	switch status := m.Header.Get("Status"); status {
	case "":
	case "404":
		return entry{}, ErrNotFound
	default:
		return entry{}, fmt.Errorf("%w: status %s", ErrUnavailable, status)
	}
	rev, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return entry{}, fmt.Errorf("answer of %s: no sequence", b.name)
	}
	if removed(m.Header) {
		return entry{rev: rev}, ErrNotFound
	}
	key, ok := strings.CutPrefix(m.Header.Get(jetstream.SubjectHeader), b.subject(""))
	if !ok {
		return entry{}, fmt.Errorf("answer of %s: no key", b.name)
	}
	return entry{key, m.Data, rev}, nil
}

// removed reports whether a message marks that its key is gone.
func removed(h nats.Header) bool {
	return h.Get("KV-Operation") != "" || h.Get(jetstream.MarkerReasonHeader) != ""
}

// swap writes a key whose revision must be rev; 0 means that there must be
// neither a value nor the mark of a removed one. life is how long it lives, 0 for ever. Another revision is errRevision.
func (b *bucket) swap(ctx context.Context, key string, data []byte, rev uint64, life time.Duration) (uint64, error) {
	m := nats.NewMsg(b.subject(key))
	m.Data = data
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(rev, 10))
	if life > 0 {
		m.Header.Set(jetstream.MsgTTLHeader, life.String())
	}
	return b.publish(ctx, m)
}

// create writes a key that must not be there, or returns errRevision. Unlike
// swap, it does not mind the mark of one that was removed.
func (b *bucket) create(ctx context.Context, key string, data []byte, life time.Duration) (uint64, error) {
	rev, err := b.swap(ctx, key, data, 0, life)
	if !errors.Is(err, errRevision) {
		return rev, err
	}
	e, err := b.getLeader(ctx, key)
	switch {
	case err == nil:
		return 0, errRevision
	case !errors.Is(err, ErrNotFound):
		return 0, err
	}
	return b.swap(ctx, key, data, e.rev, life)
}

// remove deletes a key whose revision must be rev. The mark that it leaves
// lives for half a minute.
func (b *bucket) remove(ctx context.Context, key string, rev uint64) error {
	m := nats.NewMsg(b.subject(key))
	m.Header.Set("KV-Operation", "PURGE")
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	m.Header.Set(jetstream.MsgTTLHeader, "30s")
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(rev, 10))
	_, err := b.publish(ctx, m)
	return err
}

func (b *bucket) publish(ctx context.Context, m *nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	for {
		ack, err := b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
		if err == nil {
			return ack.Sequence, nil
		}
		var ae *jetstream.APIError
		if !errors.As(err, &ae) {
			return 0, unavailable(err)
		}
		switch ae.ErrorCode {
		case codeWrongLast:
			return 0, errRevision
		case codeInFlight:
			if err := sleep(ctx, 5*time.Millisecond); err != nil {
				return 0, unavailable(err)
			}
		default:
			return 0, unavailable(err)
		}
	}
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
