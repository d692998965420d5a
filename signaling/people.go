package signaling

import (
	"cmp"
	"context"
	"errors"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// Contacts keeps whom an account knows.
type Contacts interface {
	AddContacts(ctx context.Context, owner directory.Account, numbers []e164.Number) error
	SetContacts(ctx context.Context, owner directory.Account, numbers []e164.Number) error
	RemoveContacts(ctx context.Context, owner directory.Account, numbers []e164.Number) error
}

// Blocks keeps whom an account does not want to hear of.
type Blocks interface {
	Block(ctx context.Context, owner directory.Account, n e164.Number) error
	Unblock(ctx context.Context, owner directory.Account, n e164.Number) error
	Blocks(ctx context.Context, owner directory.Account) ([]e164.Number, error)
}

// Preferences keeps what an account wants others to know and to do.
type Preferences interface {
	AccountOf(ctx context.Context, a directory.Account) (directory.AccountRecord, error)
	UpdateSettings(ctx context.Context, a directory.Account, change func(*directory.Settings) error) (directory.Settings, error)
	// Relation tells what owner thinks of peer.
	Relation(ctx context.Context, owner, peer directory.Account, peerNumber e164.Number) (directory.Relation, error)
}

// Crowd tells of many accounts at once.
type Crowd interface {
	// Presences tells of each account whether any of its devices is connected; of
	// those that are not there, that none is.
	Presences(ctx context.Context, accounts []directory.Account) ([]directory.Presence, error)
	// ResolveAll finds the accounts of numbers, "" for those that nobody has.
	ResolveAll(ctx context.Context, numbers []e164.Number) ([]directory.Account, error)
	// LookUp finds the accounts of numbers that let themselves be found by those
	// who know them, "" for each other.
	LookUp(ctx context.Context, numbers []e164.Number) ([]directory.Account, error)
}

// People keeps what accounts know of each other and want of each other.
type People interface {
	Contacts
	Blocks
	Preferences
	Crowd
}

// relation tells what owner thinks of the session's account. For nobody it does
// the same work, so that it takes as long, and tells nothing.
func (s *Server) relation(ctx context.Context, owner directory.Account, ss *session) (directory.Relation, error) {
	return s.thinks(ctx, owner, Party{ss.account, ss.number})
}

// thinks tells what an account, which need not be there, thinks of a party.
func (s *Server) thinks(ctx context.Context, owner directory.Account, p Party) (directory.Relation, error) {
	of := owner
	if of == "" {
		of = p.Account
	}
	r, err := s.People.Relation(ctx, of, p.Account, p.Number)
	switch {
	case errors.Is(err, directory.ErrNotFound), err == nil && owner == "":
		return directory.Relation{}, nil
	}
	return r, err
}

// announce lets those who watch an account look again at what they may see.
func (s *Server) announce(a directory.Account) {
	if err := s.Watcher.Announce(a); err != nil {
		s.log.Debug("change of an account not announced", "error", err)
	}
}

// allowWrite is for what a session makes the directory write.
func (s *Server) allowWrite(ss *session) error {
	l := s.cfg.Limits
	return s.allow(&ss.writes, l.MessagesPerSecond, l.MessagesBurst, "changes")
}

func (s *Server) settingsGet(ctx context.Context, ss *session) (any, error) {
	if err := s.allowLookup(ss); err != nil {
		return nil, err
	}
	r, err := s.People.AccountOf(ctx, ss.account)
	if err != nil {
		return nil, err
	}
	return settingsOf(r.Settings), nil
}

// settingsSet changes what the request holds, and lets the account's other
// devices know.
func (s *Server) settingsSet(ctx context.Context, ss *session, m *protocol.SettingsSet) (any, error) {
	if err := s.allowWrite(ss); err != nil {
		return nil, err
	}
	changed, err := s.People.UpdateSettings(ctx, ss.account, func(c *directory.Settings) error {
		if m.LastSeen != "" {
			c.LastSeen = directory.Audience(m.LastSeen)
		}
		if m.Discoverable != "" {
			c.Discoverable = directory.Audience(m.Discoverable)
		}
		if m.ReadReceipts != "" {
			c.ReadReceipts = directory.Audience(m.ReadReceipts)
		}
		if m.Relayed != "" {
			c.Relayed = directory.Relayed(m.Relayed)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	now := settingsOf(changed)
	s.tellOwn(ctx, ss, (*protocol.SettingsChanged)(now))
	s.announce(ss.account)
	return now, nil
}

// settingsOf fills in what is set by default.
func settingsOf(c directory.Settings) *protocol.Settings {
	return &protocol.Settings{
		LastSeen:     cmp.Or(protocol.Audience(c.LastSeen), protocol.Contacts),
		Discoverable: cmp.Or(protocol.Audience(c.Discoverable), protocol.Everyone),
		ReadReceipts: cmp.Or(protocol.Audience(c.ReadReceipts), protocol.Everyone),
		Relayed:      cmp.Or(protocol.Relayed(c.Relayed), protocol.RelayedStrangers),
	}
}

// tellOwn tells the account's other devices that are connected.
func (s *Server) tellOwn(ctx context.Context, ss *session, b protocol.Body) {
	bindings, err := s.Bindings.Bindings(ctx, ss.account)
	if err != nil {
		s.log.Warn("own devices not told", "type", b.Type(), "error", err)
	}
	for _, other := range bindings {
		if other.Device != ss.device {
			s.tell(ctx, ss.account, other.Device, b)
		}
	}
}

func (s *Server) blockAdd(ctx context.Context, ss *session, m *protocol.BlockAdd) (any, error) {
	if err := s.allowWrite(ss); err != nil {
		return nil, err
	}
	n, err := ss.dialled(m.Number)
	if err != nil {
		return nil, err
	}
	if n == ss.number {
		return nil, protocol.NewError(protocol.CodeSelf, "one's own number cannot be blocked")
	}
	if err := s.People.Block(ctx, ss.account, n); err != nil {
		return nil, err
	}
	s.announce(ss.account)
	return nil, nil
}

func (s *Server) blockRemove(ctx context.Context, ss *session, m *protocol.BlockRemove) (any, error) {
	if err := s.allowWrite(ss); err != nil {
		return nil, err
	}
	n, err := ss.dialled(m.Number)
	if err != nil {
		return nil, err
	}
	if err := s.People.Unblock(ctx, ss.account, n); err != nil {
		return nil, err
	}
	s.announce(ss.account)
	return nil, nil
}

func (s *Server) blockList(ctx context.Context, ss *session) (any, error) {
	if err := s.allowLookup(ss); err != nil {
		return nil, err
	}
	numbers, err := s.People.Blocks(ctx, ss.account)
	if err != nil {
		return nil, err
	}
	return &protocol.Blocks{Numbers: append([]e164.Number{}, numbers...)}, nil
}
