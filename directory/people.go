package directory

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"switchboard/directory/e164"
)

// Audience says who may know something: everyone, the owner's contacts, nobody.
// Empty stands for the default.
type Audience string

const (
	Everyone Audience = "everyone"
	Contacts Audience = "contacts"
	Nobody   Audience = "nobody"
)

// Settings are what an account wants. The zero value stands for the defaults.
type Settings struct {
	// LastSeen is who sees whether the account is online, and when it was;
	// [Contacts] by default.
	LastSeen Audience `json:"last_seen,omitempty"`
	// Discoverable is who finds the account by its number among their contacts:
	// [Everyone], the default, or [Nobody].
	Discoverable Audience `json:"discoverable,omitempty"`
	// ReadReceipts is who learns when the account's owner has read his texts:
	// [Everyone], the default, or [Nobody]. Who tells nobody is told by nobody.
	ReadReceipts Audience `json:"read_receipts,omitempty"`
	// Relayed is with whom the account's calls go through relays alone;
	// [RelayedStrangers] by default.
	Relayed Relayed `json:"relayed,omitempty"`
}

// Relayed says with whom an account's calls go through relays alone, so that the
// other side does not learn its addresses.
type Relayed string

const (
	RelayedNobody    Relayed = "nobody"
	RelayedStrangers Relayed = "strangers" // those who are not contacts, until the call is answered
	RelayedEveryone  Relayed = "everyone"
)

// Relation is what an account thinks of another.
type Relation struct {
	Contact  bool // it knows the other's number
	Blocked  bool // it does not want to hear of the other
	Settings Settings
}

const (
	// MaxContacts is the most contacts that an account may have.
	MaxContacts = 5000
	// MaxBlocks is the most numbers that an account may block.
	MaxBlocks = 1000
	// MaxLookUp is the most that [Directory.LookUp] and [Directory.Presences]
	// take at a time.
	MaxLookUp = 500
)

// UpdateSettings changes an account's settings and returns them. change may run
// more than once, each time on the newest; its error is returned as it is.
// [ErrNotFound] says that there is no such account, [ErrConflict] that others
// were faster every time. After another error, repeat it: what the number's own
// record says of who finds it is then brought in line.
func (d *Directory) UpdateSettings(ctx context.Context, a Account, change func(*Settings) error) (_ Settings, err error) {
	defer d.metrics.observe(opSettings)(&err)
	for range maxTries {
		rec, old, err := d.account(ctx, a)
		if err != nil {
			return Settings{}, wrap("update settings", err)
		}
		was := rec.Settings
		if err := change(&rec.Settings); err != nil {
			return Settings{}, err
		}
		if err = d.saveSettings(ctx, rec, was, old); !errors.Is(err, errRevision) {
			return rec.Settings, wrap("update settings", err)
		}
	}
	return Settings{}, wrap("update settings", ErrConflict)
}

// saveSettings writes the account's record and the number's. Who wants to hide
// is hidden first, who does not any more last.
func (d *Directory) saveSettings(ctx context.Context, rec AccountRecord, was Settings, old entry) error {
	hidden := rec.Settings.Discoverable == Nobody
	if hidden {
		if err := d.hideNumber(ctx, rec, hidden); err != nil {
			return err
		}
	}
	if rec.Settings != was {
		if err := d.saveAccount(ctx, rec, old); err != nil {
			return err
		}
	}
	return d.settle(ctx, rec.Account)
}

// settle brings the number's record in line with the account's. It looks at the
// account again afterwards: whoever changes it later settles later.
func (d *Directory) settle(ctx context.Context, a Account) error {
	var before uint64
	for range maxTries {
		rec, e, err := d.account(ctx, a)
		if err != nil || e.rev == before {
			return err
		}
		err = d.hideNumber(ctx, rec, rec.Settings.Discoverable == Nobody)
		switch {
		case errors.Is(err, errRevision):
			continue
		case err != nil:
			return err
		}
		before = e.rev
	}
	return ErrConflict
}

// hideNumber makes the number's own record say whether it may be found, so that
// a look-up reads as much for who may be as for who may not.
func (d *Directory) hideNumber(ctx context.Context, rec AccountRecord, hidden bool) error {
	key := numberKey(d.config.Secret, rec.Number)
	e, err := d.accounts.getLeader(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := decodeNumber(e.data)
	if err != nil || n.Account != rec.Account || n.Hidden == hidden {
		return err
	}
	n.Hidden = hidden
	data, err := encodeOver(e.data, n)
	if err != nil {
		return err
	}
	_, err = d.accounts.swap(ctx, key, data, e.rev, 0)
	return err
}

// AddContacts adds to whom an account knows; it writes only if somebody is new.
// [ErrTooMany] says that there would be more than [MaxContacts], [ErrNotFound]
// that there is no such account.
func (d *Directory) AddContacts(ctx context.Context, owner Account, numbers []e164.Number) (err error) {
	defer d.metrics.observe(opContacts)(&err)
	marks := d.contactMarks(owner, numbers)
	return wrap("add contacts", d.changePeople(ctx, owner, func(r *peopleRecord) error {
		r.Contacts = r.Contacts.with(marks)
		return nil
	}))
}

// SetContacts makes numbers all whom an account knows. Errors are as of
// [Directory.AddContacts].
func (d *Directory) SetContacts(ctx context.Context, owner Account, numbers []e164.Number) (err error) {
	defer d.metrics.observe(opContacts)(&err)
	marks := d.contactMarks(owner, numbers)
	return wrap("set contacts", d.changePeople(ctx, owner, func(r *peopleRecord) error {
		r.Contacts = marks
		return nil
	}))
}

// RemoveContacts takes numbers from those that an account knows.
func (d *Directory) RemoveContacts(ctx context.Context, owner Account, numbers []e164.Number) (err error) {
	defer d.metrics.observe(opContacts)(&err)
	marks := d.contactMarks(owner, numbers)
	return wrap("remove contacts", d.changePeople(ctx, owner, func(r *peopleRecord) error {
		r.Contacts = r.Contacts.without(marks)
		return nil
	}))
}

func (d *Directory) contactMarks(owner Account, numbers []e164.Number) marks {
	all := make(marks, 0, len(numbers))
	for _, n := range numbers {
		if !n.IsZero() {
			all = append(all, contactMark(d.config.Secret, owner, n))
		}
	}
	slices.SortFunc(all, compareMarks)
	return slices.Compact(all)
}

// Block keeps a number, and the account that it has now, from reaching owner.
// [ErrTooMany] says that there are [MaxBlocks] already, [ErrNotFound] that there
// is no such account.
func (d *Directory) Block(ctx context.Context, owner Account, n e164.Number) (err error) {
	defer d.metrics.observe(opBlocks)(&err)
	if n.IsZero() {
		return wrap("block", ErrNotFound)
	}
	peer, err := d.Resolve(ctx, n)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return wrap("block", err)
	}
	return wrap("block", d.changePeople(ctx, owner, func(r *peopleRecord) error {
		r.unblock(n)
		r.Blocks = append(r.Blocks, blockRecord{n, peer})
		return nil
	}))
}

// Unblock ends the block of a number; of one that is not blocked it is no error.
func (d *Directory) Unblock(ctx context.Context, owner Account, n e164.Number) (err error) {
	defer d.metrics.observe(opBlocks)(&err)
	return wrap("unblock", d.changePeople(ctx, owner, func(r *peopleRecord) error {
		r.unblock(n)
		return nil
	}))
}

// Blocks lists the numbers that an account blocks, in the order in which it did.
func (d *Directory) Blocks(ctx context.Context, owner Account) (_ []e164.Number, err error) {
	defer d.metrics.observe(opBlocks)(&err)
	r, _, err := d.peopleOf(ctx, owner)
	if err != nil {
		return nil, wrap("blocks", err)
	}
	var all []e164.Number
	for _, b := range r.Blocks {
		all = append(all, b.Number)
	}
	return all, nil
}

// KnownAndBlocked counts the contacts and the blocks of an account, for
// operators.
func (d *Directory) KnownAndBlocked(ctx context.Context, owner Account) (contacts, blocks int, err error) {
	defer d.metrics.observe(opRelation)(&err)
	r, _, err := d.peopleOf(ctx, owner)
	return len(r.Contacts), len(r.Blocks), wrap("contacts", err)
}

// Relation tells what owner thinks of peer, who has peerNumber. In a cluster it
// may be a moment old. [ErrNotFound] says that there is no such owner.
func (d *Directory) Relation(ctx context.Context, owner, peer Account, peerNumber e164.Number) (_ Relation, err error) {
	defer d.metrics.observe(opRelation)(&err)
	if !owner.Valid() {
		return Relation{}, wrap("relation", ErrNotFound)
	}
	var rec AccountRecord
	var people peopleRecord
	g, read := errgroup.WithContext(ctx)
	g.Go(func() error {
		e, err := d.accounts.get(read, accountKey(owner))
		if err == nil {
			rec, err = decodeAccount(e.data)
		}
		return err
	})
	g.Go(func() error {
		e, err := d.people.get(read, string(owner))
		if err == nil {
			people, err = decodePeople(e.data)
		}
		return ignoreNotFound(err)
	})
	if err := g.Wait(); err != nil {
		return Relation{}, wrap("relation", err)
	}
	if !rec.Deleted.IsZero() {
		return Relation{}, wrap("relation", ErrNotFound)
	}
	forms := forms(peerNumber)
	return Relation{
		Contact:  slices.ContainsFunc(forms, func(n e164.Number) bool { return people.Contacts.has(contactMark(d.config.Secret, owner, n)) }),
		Blocked:  people.blocks(peer, forms),
		Settings: rec.Settings,
	}, nil
}

// peopleOf returns the record of whom an account knows and blocks, as the leader
// has it: an empty one if there is none.
func (d *Directory) peopleOf(ctx context.Context, a Account) (peopleRecord, entry, error) {
	if !a.Valid() {
		return peopleRecord{}, entry{}, ErrNotFound
	}
	e, err := d.people.getLeader(ctx, string(a))
	if errors.Is(err, ErrNotFound) {
		return peopleRecord{V: recordVersion}, entry{rev: e.rev}, nil
	}
	if err != nil {
		return peopleRecord{}, entry{}, err
	}
	r, err := decodePeople(e.data)
	return r, e, err
}

// changePeople changes the record of an account. change may run more than once.
func (d *Directory) changePeople(ctx context.Context, a Account, change func(*peopleRecord) error) error {
	for range maxTries {
		r, old, err := d.peopleOf(ctx, a)
		if err != nil {
			return err
		}
		if _, _, err := d.account(ctx, a); err != nil {
			return err
		}
		was, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if err := change(&r); err != nil {
			return err
		}
		if len(r.Contacts) > MaxContacts || len(r.Blocks) > MaxBlocks {
			return ErrTooMany
		}
		if data, err := json.Marshal(r); err != nil || string(data) == string(was) {
			return err
		}
		data, err := encodeOver(old.data, r)
		if err != nil {
			return err
		}
		rev, err := d.people.swap(ctx, string(a), data, old.rev, 0)
		if err == nil {
			err = d.unlessDeleted(ctx, a, func(ctx context.Context) error { return d.people.remove(ctx, string(a), rev) })
		}
		if !errors.Is(err, errRevision) {
			return err
		}
	}
	return ErrConflict
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
