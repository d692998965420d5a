package signaling

import (
	"context"
	"errors"
	"time"

	"switchboard/directory"
	"switchboard/signaling/mailbox"
)

// A device that does not fetch what waits for it must not keep its account from
// being reached. A text is refused with mailbox_full only if there is no room on
// any device of the receiver; a device without room while another has some is told
// so when it has fetched the rest.

// placed decides what an attempt to store a text comes to. The first receivers
// entries are the receiver's. It returns the error for the sender, or nil.
func (s *Server) placed(ctx context.Context, entries []mailbox.Entry, receivers int, err error) error {
	full, other := fullOf(err)
	if other != nil {
		return other
	}
	theirs := 0
	for _, i := range full {
		if i < receivers {
			theirs++
		}
	}
	if theirs > 0 && theirs == receivers {
		return mailbox.ErrFull
	}
	for _, i := range full {
		b := entries[i].Box
		if err := s.Bindings.DeviceMissed(ctx, directory.Account(b.Account), directory.Device(b.Device), time.Now()); err != nil {
			return err // to be tried again: it must not be missed in silence
		}
		s.metrics.missed.Inc()
	}
	return nil
}

// fullOf lists the entries whose mailboxes are full, or returns another reason for
// which some entry was not stored.
func fullOf(err error) (full []int, other error) {
	if err == nil {
		return nil, nil
	}
	var all []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	} else {
		all = []error{err}
	}
	for _, e := range all {
		var entry *mailbox.EntryError
		if !errors.As(e, &entry) || !errors.Is(e, mailbox.ErrFull) {
			return nil, err
		}
		full = append(full, entry.Index)
	}
	return full, nil
}

// caughtUp takes back that a device has missed something, when it has been told.
func (s *Server) caughtUp(ss *session, missed time.Time) {
	ctx, cancel := s.request()
	defer cancel()
	if err := s.Bindings.DeviceToldMissed(ctx, ss.account, ss.device, missed); err != nil {
		s.log.Debug("device will be told again what it has missed", "error", err)
	}
}
