package auth

import (
	"context"
	"crypto/rand"
	"net/http"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

// askDelete sends a code to the account's own number: with a token alone, which
// may be stolen, nothing is deleted.
func (g *Registrar) askDelete(ctx context.Context, r *http.Request) (any, error) {
	id, err := g.ownNumber(ctx, r)
	if err != nil {
		return nil, err
	}
	return g.sendCode(ctx, ToDelete, id.Number, id.Account)
}

// deleteAccount deletes the account. The devices go first, and with them their
// sessions, for whose ends the directory must still know where they are. A
// repeat comes with a token whose device is gone; the code shows that it is good
// nevertheless.
func (g *Registrar) deleteAccount(ctx context.Context, r *http.Request) (any, error) {
	if err := g.byCode(r); err != nil {
		return nil, err
	}
	c, err := g.signed(r)
	if err != nil {
		return nil, err
	}
	account := directory.Account(c.Subject)
	if err := g.asked.take(device{account, c.Device}); err != nil {
		return nil, err
	}
	var req protocol.CodeRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	code, err := checkCode(req.Verification, req.Code)
	if err != nil {
		return nil, err
	}
	claim := rand.Text()
	v, err := g.codes.check(ctx, ToDelete, req.Verification, code, account, claim)
	if err != nil || v.Device != 0 {
		return nil, err
	}
	if err := g.auth.delete(ctx, account, v); err != nil {
		g.settle(ctx, ToDelete, req.Verification, claim, directory.DeviceRecord{})
		return nil, err
	}
	g.settle(ctx, ToDelete, req.Verification, claim, directory.DeviceRecord{Account: account, Device: c.Device})
	g.log.Info("account deleted by its owner", "account", account)
	return nil, nil
}

// signed returns what a token of ours says, whether or not its device is still
// there.
func (g *Registrar) signed(r *http.Request) (claims, error) {
	token, err := bearer(r)
	if err != nil {
		return claims{}, g.guess(r, err)
	}
	c, err := g.auth.parse(token)
	if err != nil && g.auth.external != nil && g.auth.external.issued(token) {
		return claims{}, lookedAfter()
	}
	return c, g.guess(r, err)
}

// delete deletes an account that the holder of its number, as v has it, wants
// deleted. It may be repeated after it failed.
func (a *Authenticator) delete(ctx context.Context, account directory.Account, v verification) error {
	n, err := a.numberOf(ctx, account)
	switch {
	case protocol.CodeOf(err) == protocol.CodeToken: // it is gone already
	case err != nil:
		return err
	case n != v.Number: // the account has moved since
		return codeExpired()
	}
	devices, err := a.accounts.Devices(ctx, account)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if err := a.removeDevice(ctx, account, d.Device); err != nil {
			return err
		}
	}
	if err := a.accounts.DeleteAccount(ctx, account); err != nil {
		return err
	}
	if a.deleted == nil {
		return nil
	}
	return a.deleted(ctx, account)
}
