package signaling

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

// contactsSync adds numbers to those that the account knows, and tells which of
// them can be called. What it does, and how much it answers, does not depend on
// which those are.
func (s *Server) contactsSync(ctx context.Context, ss *session, m *protocol.ContactsSync) (any, error) {
	if err := s.allowWrite(ss); err != nil {
		return nil, err
	}
	found := &protocol.ContactsFound{Contacts: make([]protocol.Contact, len(m.Numbers))}
	var numbers []e164.Number
	var at []int // in found
	for i, text := range m.Numbers {
		c := &found.Contacts[i]
		c.Given, c.Is = text, protocol.ContactBad
		if n, err := ss.dialled(text); err == nil {
			c.Number, c.Is = n, protocol.ContactNone
			numbers, at = append(numbers, n), append(at, i)
		}
	}
	if b, err := json.Marshal(found); err != nil || len(b) > protocol.MaxFrame-256 {
		return nil, protocol.NewError(protocol.CodeTooLarge, "the answer would not fit into a frame")
	}
	if err := s.spendLookups(ctx, ss.account, len(numbers)); err != nil {
		return nil, err
	}
	if err := s.keepContacts(ctx, ss, numbers, m.Replace); err != nil {
		return nil, err
	}
	if len(numbers) == 0 {
		return found, nil
	}
	accounts, err := s.People.LookUp(ctx, numbers)
	if err != nil {
		return nil, err
	}
	for j, a := range accounts {
		if a != "" {
			found.Contacts[at[j]].Is = protocol.ContactHere
		}
	}
	return found, nil
}

func (s *Server) keepContacts(ctx context.Context, ss *session, numbers []e164.Number, replace bool) (err error) {
	switch {
	case replace:
		err = s.People.SetContacts(ctx, ss.account, numbers)
	case len(numbers) > 0:
		err = s.People.AddContacts(ctx, ss.account, numbers)
	}
	if err != nil {
		return err
	}
	s.met.forget(ss.account)
	s.announce(ss.account)
	return nil
}

// contactsRemove leaves out what is no number: the account cannot know it.
func (s *Server) contactsRemove(ctx context.Context, ss *session, m *protocol.ContactsRemove) (any, error) {
	if err := s.allowWrite(ss); err != nil {
		return nil, err
	}
	var numbers []e164.Number
	for _, text := range m.Numbers {
		if n, err := ss.dialled(text); err == nil {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return nil, nil
	}
	if err := s.People.RemoveContacts(ctx, ss.account, numbers); err != nil {
		return nil, err
	}
	s.met.forget(ss.account)
	s.announce(ss.account)
	return nil, nil
}

// spent is how many numbers an account looked up in an hour, counted from 1970.
type spent struct {
	Hour int64 `json:"h"`
	N    int   `json:"n"`
}

const spentHours = 24

// spendLookups counts n look-ups of an account against its day, which all nodes
// share.
func (s *Server) spendLookups(ctx context.Context, a directory.Account, n int) error {
	if n == 0 {
		return nil
	}
	return callstore.Change(ctx, s.Records, "y."+string(a), spentHours*time.Hour, func(old []byte) ([]byte, error) {
		hour := time.Now().Unix() / 3600
		kept, total := spentLately(old, hour)
		if limit := s.cfg.Limits.SyncedNumbersPerDay; total+n > limit {
			s.metrics.limited.WithLabelValues("contacts").Inc()
			e := protocol.NewError(protocol.CodeRate, "more than %d contacts in a day", limit)
			return nil, e.After(untilRoom(kept, total+n-limit, hour))
		}
		if last := len(kept) - 1; last >= 0 && kept[last].Hour == hour {
			kept[last].N += n
		} else {
			kept = append(kept, spent{hour, n})
		}
		return json.Marshal(kept)
	})
}

// spentLately reads a record of what was spent. One that is broken begins anew.
func spentLately(old []byte, hour int64) (kept []spent, total int) {
	var all []spent
	if old != nil && json.Unmarshal(old, &all) != nil {
		return nil, 0
	}
	for _, p := range all {
		if p.N > 0 && p.Hour <= hour && hour-p.Hour < spentHours {
			kept, total = append(kept, p), total+p.N
		}
	}
	return kept, total
}

// untilRoom is how long until what was spent first, and is over, counts no more.
func untilRoom(kept []spent, over int, hour int64) time.Duration {
	for _, p := range kept {
		if over -= p.N; over <= 0 {
			return max(time.Until(time.Unix((p.Hour+spentHours)*3600, 0)), time.Second)
		}
	}
	return spentHours * time.Hour
}

const (
	// metFor is how long a node remembers that it has written down a contact.
	metFor = time.Hour
	// maxMet bounds what it remembers, and maxToMeet what waits to be written.
	maxMet    = 1 << 16
	maxToMeet = 1 << 13
	// meetAtOnce is how many accounts' contacts are written at the same time.
	meetAtOnce = 8
)

// acquaintances makes contacts of those whom an account calls, texts or answers,
// after the call or text has gone its way. What is too much is left out: the
// next call brings it again.
type acquaintances struct {
	srv *Server

	// Guarded by mu.
	mu      sync.Mutex
	met     map[directory.Account]map[e164.Number]time.Time
	count   int // in met
	waiting map[directory.Account][]e164.Number
	queued  int // in waiting
	writers int
}

func newAcquaintances(s *Server) *acquaintances {
	return &acquaintances{
		srv: s, met: map[directory.Account]map[e164.Number]time.Time{}, waiting: map[directory.Account][]e164.Number{},
	}
}

// meet is told that owner has called, texted or answered a number.
func (q *acquaintances) meet(owner directory.Account, n e164.Number) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at, ok := q.met[owner][n]; ok && time.Since(at) < metFor || q.queued >= maxToMeet {
		return
	}
	if q.count >= maxMet {
		clear(q.met)
		q.count = 0
	}
	if q.met[owner] == nil {
		q.met[owner] = map[e164.Number]time.Time{}
	}
	q.met[owner][n] = time.Now()
	q.count++
	q.waiting[owner] = append(q.waiting[owner], n)
	q.queued++
	if q.writers < meetAtOnce && q.srv.goroutines.Go(q.write) {
		q.writers++
	}
}

// forget is told that the contacts of an account were changed otherwise.
func (q *acquaintances) forget(owner directory.Account) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count -= len(q.met[owner])
	delete(q.met, owner)
}

// write writes down contacts until none wait.
func (q *acquaintances) write() {
	for {
		owner, numbers := q.next()
		if owner == "" {
			return
		}
		ctx, cancel := q.srv.request()
		err := q.srv.People.AddContacts(ctx, owner, numbers)
		cancel()
		if err != nil {
			q.srv.log.Debug("contacts not added", "error", err)
			if !errors.Is(err, directory.ErrTooMany) {
				q.forget(owner) // the next call tries again
			}
			continue
		}
		q.srv.announce(owner)
	}
}

func (q *acquaintances) next() (directory.Account, []e164.Number) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for owner, numbers := range q.waiting {
		delete(q.waiting, owner)
		q.queued -= len(numbers)
		return owner, numbers
	}
	q.writers--
	return "", nil
}
