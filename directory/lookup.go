package directory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"switchboard/directory/e164"
)

// ErrTooLong says that more than [MaxLookUp] were asked for at a time.
var ErrTooLong = errors.New("too many at a time")

// maxAnswers is how many records a server answers with.
const maxAnswers = 1024

// presenceChunk is how many accounts are asked for in one request, such that all
// of their devices are no more than a server answers with.
const presenceChunk = maxAnswers / (2 * MaxDevices)

// LookUp finds the accounts of up to [MaxLookUp] numbers, in their order: "" for
// a number that nobody has, or whose owner does not want to be found. It asks
// and reads as much for the one as for the other. Forms that a number had before
// its country changed its plan are tried, too. [ErrTooLong] says that there
// are more. In a cluster, it may be a moment old.
func (d *Directory) LookUp(ctx context.Context, numbers []e164.Number) (_ []Account, err error) {
	defer d.metrics.observe(opLookUp)(&err)
	all, err := d.lookUp(ctx, numbers, numberRecord.discoverable)
	return all, wrap("look up", err)
}

// ResolveAll is [Directory.Resolve] for up to [MaxLookUp] numbers: it finds those,
// too, whose owners do not want to be found, and is otherwise as
// [Directory.LookUp].
func (d *Directory) ResolveAll(ctx context.Context, numbers []e164.Number) (_ []Account, err error) {
	defer d.metrics.observe(opLookUp)(&err)
	all, err := d.lookUp(ctx, numbers, func(numberRecord) bool { return true })
	return all, wrap("resolve", err)
}

func (r numberRecord) discoverable() bool { return !r.Hidden }

// lookUp finds the accounts of numbers whose records may be told of.
func (d *Directory) lookUp(ctx context.Context, numbers []e164.Number, may func(numberRecord) bool) ([]Account, error) {
	if len(numbers) > MaxLookUp {
		return nil, fmt.Errorf("%w: %d numbers", ErrTooLong, len(numbers))
	}
	if len(numbers) == 0 {
		return nil, nil
	}
	keys := make([][]string, len(numbers)) // of the forms of each number
	for i, n := range numbers {
		for _, form := range forms(n) {
			keys[i] = append(keys[i], numberKey(d.config.Secret, form))
		}
	}
	data := map[string][]byte{}
	for some := range slices.Chunk(unique(slices.Concat(keys...)), maxAnswers) {
		entries, err := d.accounts.lists(ctx, some)
		if err == nil {
			err = d.readOthers(ctx, len(some)-len(entries), entries)
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			data[e.key] = e.data
		}
	}
	all := make([]Account, len(numbers))
	for i := range numbers {
		if r := d.firstOf(keys[i], data); may(r) {
			all[i] = r.Account
		}
	}
	return all, nil
}

// firstOf is the record of the first of a number's forms that has an account. It
// reads a record for each form, whatever is there.
func (d *Directory) firstOf(keys []string, data map[string][]byte) numberRecord {
	var found numberRecord
	for _, key := range keys {
		have, ok := data[key]
		if !ok {
			continue // another was read in its place
		}
		r, err := decodeNumber(have)
		switch {
		case err != nil:
			d.log.Warn("number's record left out of a look-up", "error", err)
		case found.Account == "":
			found = r
		}
	}
	return found
}

// readOthers reads as many records of other numbers as were not found, so that a
// look-up takes as long, however many there are: finding a record is most of the
// work. It begins anywhere, as those who ask do.
func (d *Directory) readOthers(ctx context.Context, n int, found []entry) error {
	newest := d.newest.Load()
	for _, e := range found {
		newest = max(newest, e.rev)
	}
	if n == 0 {
		_, err := d.accounts.lists(ctx, []string{numberKeys + ".none"}) // a request is part of the time
		d.newest.Store(newest)
		return err
	}
	others, err := d.accounts.some(ctx, rand.Uint64N(newest+1), n)
	for _, e := range others {
		newest = max(newest, e.rev)
		_, _ = decodeNumber(e.data) // whatever it is, and however it is
	}
	d.newest.Store(newest)
	return err
}

// Presences tells of up to [MaxLookUp] accounts, in their order, whether any of
// their devices is connected; of those that are not there, that none is. Errors
// are as of [Directory.LookUp].
func (d *Directory) Presences(ctx context.Context, accounts []Account) (_ []Presence, err error) {
	defer d.metrics.observe(opPresences)(&err)
	if len(accounts) > MaxLookUp {
		return nil, wrap("presences", fmt.Errorf("%w: %d accounts", ErrTooLong, len(accounts)))
	}
	wanted := make([]string, 0, len(accounts))
	for _, a := range accounts {
		if a.Valid() {
			wanted = append(wanted, string(a))
		}
	}
	wanted = unique(wanted)
	chunks := slices.Collect(slices.Chunk(wanted, presenceChunk))
	found := make([]map[Account]Presence, len(chunks))
	g, read := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, chunk := range chunks {
		g.Go(func() (err error) {
			found[i], err = d.presences(read, chunk)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, wrap("presences", err)
	}
	all := make([]Presence, len(accounts))
	for i, a := range accounts {
		if at, ok := slices.BinarySearch(wanted, string(a)); ok {
			all[i] = found[at/presenceChunk][a]
		}
	}
	return all, nil
}

func (d *Directory) presences(ctx context.Context, accounts []string) (map[Account]Presence, error) {
	devices := make([]string, len(accounts))
	for i, a := range accounts {
		devices[i] = a + ".*"
	}
	bound, err := d.presence.lists(ctx, devices)
	if err != nil {
		return nil, err
	}
	left, err := d.seen.lists(ctx, accounts)
	if err != nil {
		return nil, err
	}
	bindings, err := bindingsOf(bound)
	if err != nil {
		return nil, err
	}
	seen := map[Account]time.Time{}
	for _, e := range left {
		r, err := decodeSeen(e.data)
		if err != nil {
			return nil, err
		}
		seen[Account(e.key)] = r.At
	}
	of := map[Account][]Binding{}
	for _, b := range bindings {
		of[b.Account] = append(of[b.Account], b)
	}
	all := map[Account]Presence{}
	for _, text := range accounts {
		a := Account(text)
		at := seen[a]
		if soon := d.leftLately(a); !soon.IsZero() {
			at = soon
		}
		online := slices.ContainsFunc(of[a], func(b Binding) bool { return d.alive(b.Node) })
		if !online {
			at = d.endOf(of[a], at)
		}
		all[a] = Presence{Online: online, LastSeen: at}
	}
	return all, nil
}

// unique sorts a list and leaves out what is there twice.
func unique(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
