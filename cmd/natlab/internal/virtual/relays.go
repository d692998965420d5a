package virtual

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"switchboard/relay/natlab/labrelay"
)

// startRelay starts a relay on its host. It is the real one, with the settings of a public
// relay.
func (l *lab) startRelay(name string) error {
	cert, err := l.authority.certificate(name)
	if err != nil {
		return err
	}
	r, err := labrelay.Start(l.world.Host(name), labrelay.Options{
		Certificate: &cert, Log: l.log.With("relay", name),
		Registrar: l.stores.roster.registrar(name, cmp.Or(l.c.Relays[name].Region, "lab")),
	})
	if err != nil {
		return fmt.Errorf("relay %s: %w", name, err)
	}
	l.relays[name] = r
	return nil
}

// killRelay ends a relay as a power cut does.
func (l *lab) killRelay(name string) {
	l.stores.roster.silence(name)
	l.relays[name].Kill()
	delete(l.relays, name)
}

// trespasses says which relays let strangers be heard, once the call is over: whatever the
// call was to show, no relay may do that. A drained one takes nobody, and cannot be asked.
func (l *lab) trespasses(ctx context.Context) (faults []string, err error) {
	client, stranger := l.world.Internet().AddHost("lab-client"), l.world.Internet().AddHost("lab-stranger")
	for _, name := range slices.Sorted(maps.Keys(l.relays)) {
		r := l.relays[name]
		if r.Server().Ready() != nil {
			continue
		}
		switch failed := r.CheckPermissions(ctx, client, stranger); {
		case errors.Is(failed, labrelay.ErrTrespass):
			faults = append(faults, fmt.Sprintf("relay %s lets who has no permission send to a client (RFC 8656 section 9)", name))
		case failed != nil:
			err = errors.Join(err, fmt.Errorf("permissions of relay %s: %w", name, failed))
		}
	}
	return faults, err
}
