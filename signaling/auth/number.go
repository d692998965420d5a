package auth

import (
	"context"
	"crypto/rand"
	"net/http"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// ownNumber is owner for what is done by codes, which is no part of accounts that
// an identity system looks after.
func (g *Registrar) ownNumber(ctx context.Context, r *http.Request) (Identity, error) {
	if err := g.byCode(r); err != nil {
		return Identity{}, err
	}
	id, err := g.owner(ctx, r)
	if err == nil && id.External {
		err = lookedAfter()
	}
	return id, err
}

func lookedAfter() error {
	return protocol.NewError(protocol.CodeForbidden, "the account is looked after by the system that the token is from").With("reason", "external")
}

// askNumber sends a code to the number that an account is to have.
func (g *Registrar) askNumber(ctx context.Context, r *http.Request) (any, error) {
	id, err := g.ownNumber(ctx, r)
	if err != nil {
		return nil, err
	}
	var req protocol.RegisterRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	n, err := e164.Parse(req.Number, req.Region)
	if err != nil {
		return nil, err
	}
	if n == id.Number {
		return nil, protocol.NewError(protocol.CodeSelf, "the account has this number already")
	}
	return g.sendCode(ctx, ToMove, n, id.Account)
}

// moveNumber gives the account the number that the code was sent to. It keeps
// all else: its devices and their tokens, which hold no number, and what waits
// for them. Whether the number has another account is told only to who holds it.
func (g *Registrar) moveNumber(ctx context.Context, r *http.Request) (any, error) {
	id, err := g.ownNumber(ctx, r)
	if err != nil {
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
	v, err := g.codes.check(ctx, ToMove, req.Verification, code, id.Account, claim)
	if err != nil {
		return nil, err
	}
	if v.Device != 0 { // its answer was lost
		if id.Number != v.Number {
			return nil, codeExpired()
		}
		return &protocol.NumberReply{Account: string(id.Account), Number: id.Number}, nil
	}
	rec, err := g.auth.accounts.MoveNumber(ctx, id.Account, v.Number)
	if err != nil {
		g.settle(ctx, ToMove, req.Verification, claim, directory.DeviceRecord{})
		return nil, orRemoved(err)
	}
	g.settle(ctx, ToMove, req.Verification, claim, directory.DeviceRecord{Account: id.Account, Device: id.Device})
	if g.auth.moved != nil {
		g.auth.moved(ctx, id.Account)
	}
	g.log.Info("account has another number", "account", id.Account)
	return &protocol.NumberReply{Account: string(id.Account), Number: rec.Number}, nil
}
