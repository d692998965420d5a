package auth

import (
	"context"

	"switchboard/directory"
)

// RemoveDevice removes a device, and with it every token of it, for an operator.
// One that is not there is no error.
func (a *Authenticator) RemoveDevice(ctx context.Context, account directory.Account, dev directory.Device) error {
	return a.removeDevice(ctx, account, dev)
}
