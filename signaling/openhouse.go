package signaling

import (
	"context"
	"errors"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// openHouse stands in where nobody keeps what people want: everybody knows
// everybody.
type openHouse struct{ Numbers }

func noPeople() error {
	return protocol.NewError(protocol.CodeUnsupported, "this node keeps no contacts, blocks or settings")
}

func (openHouse) AddContacts(context.Context, directory.Account, []e164.Number) error { return nil }

func (openHouse) SetContacts(context.Context, directory.Account, []e164.Number) error { return nil }

func (openHouse) RemoveContacts(context.Context, directory.Account, []e164.Number) error { return nil }

func (openHouse) Block(context.Context, directory.Account, e164.Number) error { return noPeople() }

func (openHouse) Unblock(context.Context, directory.Account, e164.Number) error { return noPeople() }

func (openHouse) Blocks(context.Context, directory.Account) ([]e164.Number, error) {
	return nil, noPeople()
}

func (openHouse) AccountOf(context.Context, directory.Account) (directory.AccountRecord, error) {
	return directory.AccountRecord{}, noPeople()
}

func (openHouse) UpdateSettings(context.Context, directory.Account, func(*directory.Settings) error) (directory.Settings, error) {
	return directory.Settings{}, noPeople()
}

func (openHouse) Relation(context.Context, directory.Account, directory.Account, e164.Number) (directory.Relation, error) {
	return directory.Relation{Contact: true}, nil
}

func (o openHouse) Presences(ctx context.Context, accounts []directory.Account) ([]directory.Presence, error) {
	all := make([]directory.Presence, len(accounts))
	for i, a := range accounts {
		var err error
		if all[i], err = o.PresenceOf(ctx, a); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (o openHouse) LookUp(ctx context.Context, numbers []e164.Number) ([]directory.Account, error) {
	all := make([]directory.Account, len(numbers))
	for i, n := range numbers {
		a, err := o.Resolve(ctx, n)
		if err != nil && !errors.Is(err, directory.ErrNotFound) {
			return nil, err
		}
		all[i] = a
	}
	return all, nil
}
