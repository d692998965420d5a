package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// Accounts is the part of the directory that tokens are about.
type Accounts interface {
	Register(ctx context.Context, n e164.Number) (directory.AccountRecord, error)
	AccountOf(ctx context.Context, a directory.Account) (directory.AccountRecord, error)
	AddDevice(ctx context.Context, a directory.Account, name, external string) (directory.DeviceRecord, error)
	DeviceOf(ctx context.Context, a directory.Account, dev directory.Device) (directory.DeviceRecord, error)
	Devices(ctx context.Context, a directory.Account) ([]directory.DeviceRecord, error)
	UpdateDevice(ctx context.Context, a directory.Account, dev directory.Device, change func(*directory.DeviceRecord) error) (directory.DeviceRecord, error)
	RemoveDevice(ctx context.Context, a directory.Account, dev directory.Device) error
}

// Identity is who a token belongs to.
type Identity struct {
	Account directory.Account
	Device  directory.Device
	Number  e164.Number
	Expires time.Time
}

// Key signs tokens. Its ID stands in them, so that an old key is still accepted
// while a new one signs.
type Key struct {
	ID     string
	Secret []byte
}

const (
	// refreshGrace is how long a token that was refreshed still works, for a
	// client to which the answer did not get through.
	refreshGrace = 2 * time.Minute
	// leeway is how far clocks may be apart.
	leeway = 30 * time.Second
)

// Authenticator issues and checks tokens. Its methods may be called
// concurrently.
type Authenticator struct {
	config   Config
	keys     []Key // the first one signs
	accounts Accounts
	parser   *jwt.Parser
	external *external // nil if external tokens are not accepted
}

// NewAuthenticator returns an authenticator that signs with the first key and
// accepts all. If external tokens come by URL, their keys are fetched now and,
// until ctx ends, again.
func NewAuthenticator(ctx context.Context, c Config, keys []Key, accounts Accounts) (*Authenticator, error) {
	if len(keys) == 0 {
		return nil, errors.New("auth: no key to sign tokens with")
	}
	for _, k := range keys {
		if k.ID == "" || len(k.Secret) < 32 {
			return nil, errors.New("auth: a key needs an id and at least 32 bytes")
		}
	}
	a := &Authenticator{
		config: c, keys: keys, accounts: accounts,
		parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(c.Issuer),
			jwt.WithExpirationRequired(), jwt.WithLeeway(leeway)),
	}
	var err error
	if c.External.Enabled() {
		a.external, err = newExternal(ctx, c.External)
	}
	return a, err
}

// claims are those of a token of ours.
type claims struct {
	Device     directory.Device `json:"dev"`
	Generation uint64           `json:"gen"`
	jwt.RegisteredClaims
}

func (a *Authenticator) sign(d directory.DeviceRecord) (string, time.Time, error) {
	now := time.Now()
	expires := now.Add(a.config.TokenLife)
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		Device: d.Device, Generation: d.Token.Generation,
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: a.config.Issuer, Subject: string(d.Account),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
		},
	})
	t.Header["kid"] = a.keys[0].ID
	s, err := t.SignedString(a.keys[0].Secret)
	return s, expires, err
}

func badToken(why string) error { return protocol.NewError(protocol.CodeToken, "the token %s", why) }

// parse checks what a token of ours says without asking the directory.
func (a *Authenticator) parse(token string) (claims, error) {
	var c claims
	_, err := a.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		for _, k := range a.keys {
			if t.Header["kid"] == k.ID {
				return k.Secret, nil
			}
		}
		return nil, errors.New("unknown key")
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return claims{}, badToken("has expired")
	case err != nil:
		return claims{}, badToken("is not one of ours")
	case !directory.Account(c.Subject).Valid() || c.Device == 0:
		return claims{}, badToken("names no device")
	}
	return c, nil
}

// Authenticate tells whose a token is. A token that is not good is an
// [*protocol.Error] with code bad_token; any other error means that it could
// not be checked.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (Identity, error) {
	if a.external != nil && a.external.issued(token) {
		return a.authenticateExternal(ctx, token)
	}
	c, err := a.parse(token)
	if err != nil {
		return Identity{}, err
	}
	account := directory.Account(c.Subject)
	d, err := a.accounts.DeviceOf(ctx, account, c.Device)
	if errors.Is(err, directory.ErrNotFound) {
		return Identity{}, badToken("is of a device that was removed")
	}
	if err != nil {
		return Identity{}, err
	}
	if !good(d.Token, c.Generation) {
		return Identity{}, badToken("was replaced by a newer one")
	}
	rec, err := a.accounts.AccountOf(ctx, account)
	if errors.Is(err, directory.ErrNotFound) {
		return Identity{}, badToken("is of an account that was removed")
	}
	if err != nil {
		return Identity{}, err
	}
	return Identity{Account: account, Device: c.Device, Number: rec.Number, Expires: c.ExpiresAt.Time}, nil
}

// good reports whether tokens of a generation are accepted.
func good(s directory.TokenState, generation uint64) bool {
	return generation == s.Generation ||
		generation+1 == s.Generation && time.Since(s.Rotated) < refreshGrace
}

// Refresh exchanges a token for a new one, which ends the old one two minutes
// later. A repeat within them returns a token of the same generation.
func (a *Authenticator) Refresh(ctx context.Context, token string) (protocol.TokenReply, error) {
	c, err := a.parse(token)
	if err != nil {
		return protocol.TokenReply{}, err
	}
	account := directory.Account(c.Subject)
	d, err := a.accounts.UpdateDevice(ctx, account, c.Device, func(r *directory.DeviceRecord) error {
		if !good(r.Token, c.Generation) {
			return badToken("was replaced by a newer one")
		}
		if c.Generation == r.Token.Generation {
			r.Token = directory.TokenState{Generation: c.Generation + 1, Rotated: time.Now().UTC()}
		}
		return nil
	})
	if errors.Is(err, directory.ErrNotFound) {
		return protocol.TokenReply{}, badToken("is of a device that was removed")
	}
	if err != nil {
		return protocol.TokenReply{}, err
	}
	return a.reply(ctx, d)
}

// Revoke removes the token's device, and with it every token of it.
func (a *Authenticator) Revoke(ctx context.Context, token string) error {
	id, err := a.Authenticate(ctx, token)
	if err != nil {
		return err
	}
	return a.accounts.RemoveDevice(ctx, id.Account, id.Device)
}

func (a *Authenticator) reply(ctx context.Context, d directory.DeviceRecord) (protocol.TokenReply, error) {
	rec, err := a.accounts.AccountOf(ctx, d.Account)
	if err != nil {
		return protocol.TokenReply{}, err
	}
	token, expires, err := a.sign(d)
	if err != nil {
		return protocol.TokenReply{}, fmt.Errorf("sign token: %w", err)
	}
	return protocol.TokenReply{
		Account: string(d.Account), Device: uint32(d.Device), Number: rec.Number,
		Token: token, ExpiresMS: time.Until(expires).Milliseconds(),
	}, nil
}

// admit makes a device for whoever has proved to hold a number. The same proof
// again gives the same device. An account that has as many devices as it may
// loses the oldest: its owner may have lost it, too, and must not be locked
// out.
func (a *Authenticator) admit(ctx context.Context, n e164.Number, proof, name string) (protocol.TokenReply, error) {
	rec, err := a.accounts.Register(ctx, n)
	if err != nil {
		return protocol.TokenReply{}, err
	}
	d, err := a.addDevice(ctx, rec.Account, name, "code:"+proof)
	if err != nil {
		return protocol.TokenReply{}, err
	}
	return a.reply(ctx, d)
}

func (a *Authenticator) addDevice(ctx context.Context, account directory.Account, name, external string) (directory.DeviceRecord, error) {
	d, err := a.accounts.AddDevice(ctx, account, name, external)
	if !errors.Is(err, directory.ErrTooMany) {
		return d, err
	}
	have, err := a.accounts.Devices(ctx, account)
	if err != nil {
		return directory.DeviceRecord{}, err
	}
	if len(have) > 0 {
		if err := a.accounts.RemoveDevice(ctx, account, have[0].Device); err != nil {
			return directory.DeviceRecord{}, err
		}
	}
	return a.accounts.AddDevice(ctx, account, name, external)
}

