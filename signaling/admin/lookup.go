package admin

import (
	"cmp"
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

func (a *API) lookup(ctx context.Context, r lookupRequest) (Account, error) {
	n, err := e164.Parse(r.Number, r.Region)
	if err != nil {
		return Account{}, err
	}
	account, err := a.deps.Numbers.Resolve(ctx, n)
	if err != nil {
		return Account{}, missing(err, "no account has this number")
	}
	return a.account(ctx, accountRequest{account})
}

// missing says in words what was not found.
func missing(err error, words string) error {
	if errors.Is(err, directory.ErrNotFound) {
		return protocol.NewError(protocol.CodeNotFound, "%s", words)
	}
	return err
}

func (a *API) account(ctx context.Context, r accountRequest) (Account, error) {
	record, err := a.deps.Numbers.AccountOf(ctx, r.Account)
	if err != nil {
		return Account{}, missing(err, "there is no such account")
	}
	answer := Account{Account: record.Account, Number: record.Number, Created: record.Created, Settings: Settings{
		LastSeen:     string(cmp.Or(record.Settings.LastSeen, directory.Contacts)),
		Discoverable: string(cmp.Or(record.Settings.Discoverable, directory.Everyone)),
		ReadReceipts: string(cmp.Or(record.Settings.ReadReceipts, directory.Everyone)),
		Relayed:      string(cmp.Or(record.Settings.Relayed, directory.RelayedStrangers)),
	}}
	var sessions []Session
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		answer.Devices, err = a.devices(ctx, r.Account)
		return err
	})
	g.Go(func() (err error) {
		answer.Contacts, answer.Blocks, err = a.deps.People.KnownAndBlocked(ctx, r.Account)
		return err
	})
	g.Go(func() (err error) {
		sessions, err = a.sessionsOf(ctx, r.Account)
		return err
	})
	g.Go(func() error {
		p, err := a.deps.Presence.PresenceOf(ctx, r.Account)
		if answer.Online = p.Online; !p.LastSeen.IsZero() {
			answer.LastSeen = &p.LastSeen
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return Account{}, err
	}
	for i := range answer.Devices {
		for _, s := range sessions {
			if s.Device == answer.Devices[i].Device {
				answer.Devices[i].Session = &s
			}
		}
	}
	return answer, nil
}

// devices lists the devices of an account with what waits for them.
func (a *API) devices(ctx context.Context, account directory.Account) ([]Device, error) {
	records, err := a.deps.Numbers.Devices(ctx, account)
	if err != nil {
		return nil, err
	}
	devices := make([]Device, len(records))
	g, ctx := errgroup.WithContext(ctx)
	for i, d := range records {
		g.Go(func() error {
			waiting, err := a.deps.Waiting(ctx, account, d.Device)
			devices[i] = Device{Device: d.Device, Name: d.Name, Created: d.Created, Waiting: waiting, Push: wayOf(d)}
			return err
		})
	}
	return devices, g.Wait()
}

func (a *API) removeDevice(ctx context.Context, r deviceRequest) (Done, error) {
	// A device that is not there is told apart: a repeat may do without, a
	// misspelt one may not.
	if _, err := a.deps.Numbers.DeviceOf(ctx, r.Account, r.Device); err != nil {
		return Done{}, missing(err, "there is no such device")
	}
	return Done{true}, a.deps.Remove(ctx, r.Account, r.Device)
}
