package mailbox

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

// Put stores entries and returns their sequence numbers when all of them are
// stored and synced, on a quorum in a cluster. A repeat of a box and ID within
// [Window] gets the sequence number of the first, whatever its data is; but while
// the first is in its box, one with another sum is [ErrConflict].
//
// Entries are independent of each other: when it returns an error, those with a
// sequence number other than 0 are stored all the same, and each of the others
// has an [EntryError] in it, with [ErrFull], [ErrUnavailable] or the context's
// error. When an entry is [ErrInvalid] or [ErrTooLarge] nothing is stored.
// Entries of one box are stored in the order given, except that some may be
// late while a cluster elects.
func (s *Store) Put(ctx context.Context, entries ...Entry) (seqs []uint64, err error) {
	defer s.observe(opPut)(&err)
	seqs = make([]uint64, len(entries))
	if err := checkEntries(s.c, entries); err != nil {
		return seqs, fmt.Errorf("mailbox put: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	release, err := acquire(ctx, s.puts)
	if err != nil {
		return seqs, wrap("mailbox put", err)
	}
	defer release()
	var errs []error
	for from := 0; from < len(entries); from += putWindow {
		to := min(from+putWindow, len(entries))
		for i, err := range s.putWindow(ctx, entries[from:to], seqs[from:to]) {
			if err != nil {
				errs = append(errs, &EntryError{from + i, wrap("mailbox put", err)})
			}
		}
	}
	return seqs, errors.Join(errs...)
}

func checkEntries(c Config, entries []Entry) error {
	var errs []error
	for i, e := range entries {
		if err := e.Check(c); err != nil {
			errs = append(errs, &EntryError{i, err})
		}
	}
	return errors.Join(errs...)
}

// putWindow sends all entries before it waits for the first. It fills seqs and
// returns the error of each entry.
func (s *Store) putWindow(ctx context.Context, entries []Entry, seqs []uint64) []error {
	errs := make([]error, len(entries))
	sent := make([]*request, len(entries))
	for i, e := range entries {
		sent[i], errs[i] = s.in.send(s.message(e), one)
	}
	for i, e := range entries {
		if errs[i] == nil {
			seqs[i], errs[i] = s.stored(ctx, e, sent[i])
		}
	}
	for i, e := range entries { // rare: an election, a leader that died, or a repeat that overtakes
		if errors.Is(errs[i], errNobody) {
			errs[i] = insist(ctx, func() error { return s.putAgain(ctx, e, &seqs[i]) })
		}
	}
	return errs
}

func (s *Store) putAgain(ctx context.Context, e Entry, seq *uint64) error {
	r, err := s.in.send(s.message(e), one)
	if err != nil {
		return err
	}
	*seq, err = s.stored(ctx, e, r)
	return err
}

func (s *Store) message(e Entry) *nats.Msg {
	m := nats.NewMsg(e.Box.subject())
	m.Data = e.Data
	m.Header[jetstream.MsgIDHeader] = []string{e.messageID()}
	if e.Sum != "" {
		m.Header[headerSum] = []string{e.Sum}
	}
	if life := e.Life(s.c); life > 0 {
		m.Header[jetstream.MsgTTLHeader] = []string{strconv.Itoa(int(life/time.Second)) + "s"}
	}
	return m
}

// headerSum holds an item's sum.
const headerSum = "Switchboard-Sum"

type putAnswer struct {
	Seq       uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Error     *jetstream.APIError `json:"error"`
}

// putAttempts is how often an entry may be sent within the time that there is: a
// leader that dies, or is paused, takes what it was sent with it. The ID makes a
// repeat safe.
const putAttempts = 4

// stored waits for the server's word that an item is on disk, but not for as
// long as there is time.
func (s *Store) stored(ctx context.Context, e Entry, r *request) (uint64, error) {
	attempt, cancel := context.WithTimeout(ctx, s.c.Timeout/putAttempts)
	defer cancel()
	msgs, err := s.in.await(attempt, r)
	if err != nil && ctx.Err() == nil {
		return 0, fmt.Errorf("%w: %w", errNobody, err)
	}
	if err != nil {
		return 0, err
	}
	if status(msgs[0]) == statusNoResponders {
		return 0, errNobody
	}
	var a putAnswer
	if err := json.Unmarshal(msgs[0].Data, &a); err != nil {
		return 0, fmt.Errorf("decode answer: %w", err)
	}
	if a.Error != nil {
		return 0, putError(a.Error)
	}
	if a.Seq == 0 {
		return 0, errors.New("answer without a sequence number")
	}
	if a.Duplicate && e.Sum != "" {
		return s.same(ctx, e, a.Seq)
	}
	return a.Seq, nil
}

// same looks at the first item of e's ID, at seq, and returns seq unless its sum is
// another. One that has been acknowledged cannot be compared any more.
func (s *Store) same(ctx context.Context, e Entry, seq uint64) (uint64, error) {
	var r apiResponse
	err := insist(ctx, func() (err error) {
		r, err = s.call(ctx, "STREAM.MSG.GET."+s.stream(e.Box), map[string]uint64{"seq": seq})
		return err
	})
	var ae *jetstream.APIError
	switch {
	case errors.As(err, &ae) && ae.ErrorCode == codeNoMessage:
		return seq, nil
	case err != nil:
		return 0, err
	case r.Message == nil:
		return 0, errors.New("answer without a message")
	}
	h, err := nats.DecodeHeadersMsg(r.Message.Header)
	if err != nil {
		return 0, fmt.Errorf("headers of an item: %w", err)
	}
	if sum := h.Get(headerSum); sum != "" && sum != e.Sum {
		return 0, ErrConflict
	}
	return seq, nil
}

func putError(e *jetstream.APIError) error {
	switch {
	case e.ErrorCode == codeNotStored && e.Description == descriptionMax:
		return ErrFull
	case e.ErrorCode == codeTooLarge:
		return ErrTooLarge
	case e.ErrorCode == codeInProcess:
		return fmt.Errorf("%w: %w", errNobody, e)
	}
	return e
}
