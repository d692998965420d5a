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

const (
	// refreshGrace is how long a token that was refreshed still works, for a
	// client to which the answer did not get through.
	refreshGrace = 2 * time.Minute
	// leeway is how far clocks may be apart.
	leeway = 30 * time.Second
	// maxToken bounds a token, in bytes.
	maxToken = 8 << 10
)

// Refreshes of one device, so that none makes the directory write without end.
const (
	refreshesPerHour = 12
	refreshBurst     = 6
)

type device struct {
	account directory.Account
	device  directory.Device
}

// Authenticator issues and checks tokens. Its methods may be called
// concurrently.
type Authenticator struct {
	config    Config
	keys      Keys
	accounts  Accounts
	parser    *jwt.Parser
	external  *external // nil if external tokens are not accepted
	refreshes *limits[device]
	metrics   *tokenMetrics
	removed   func(context.Context, directory.Account, directory.Device)
	moved     func(context.Context, directory.Account)
	deleted   func(context.Context, directory.Account) error
}

// NewAuthenticator returns an authenticator that signs with the first key and
// accepts all. The keys of external tokens are read now: from a file they must
// be there, from a URL they may come later, when a token needs them.
func NewAuthenticator(ctx context.Context, c Config, keys Keys, accounts Accounts) (*Authenticator, error) {
	if err := errors.Join(c.Validate(), keys.Validate()); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	a := &Authenticator{
		config: c, keys: keys, accounts: accounts, metrics: newTokenMetrics(),
		parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(c.Issuer),
			jwt.WithExpirationRequired(), jwt.WithLeeway(leeway)),
		refreshes: newLimits[device](refreshesPerHour, refreshBurst, maxSources),
	}
	if c.External.Enabled() {
		var err error
		if a.external, err = newExternal(ctx, c.External, a.metrics.keys); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// OnRemoved has f called after a device was removed, by a revocation or
// because its account has too many, so that its mailbox and its session can go,
// too. It must be called before the Authenticator is used.
func (a *Authenticator) OnRemoved(f func(context.Context, directory.Account, directory.Device)) {
	a.removed = f
}

// OnMoved has f called after an account got another number, so that its sessions
// learn it. It must be called before the Authenticator is used.
func (a *Authenticator) OnMoved(f func(context.Context, directory.Account)) { a.moved = f }

// OnDeleted has f called after an account was deleted, so that what is kept of it
// elsewhere goes, too. If f fails, the deletion has, and can be repeated. It must
// be called before the Authenticator is used.
func (a *Authenticator) OnDeleted(f func(context.Context, directory.Account) error) { a.deleted = f }

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

// parse checks what a token of ours says without asking the directory.
func (a *Authenticator) parse(token string) (claims, error) {
	if len(token) > maxToken {
		return claims{}, badToken(tokenMalformed)
	}
	var c claims
	_, err := a.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		if secret, ok := a.keys.find(t.Header["kid"]); ok {
			return secret, nil
		}
		return nil, errUnknownKey
	})
	switch {
	case err != nil:
		return claims{}, badToken(whyBad(err))
	case !directory.Account(c.Subject).Valid() || c.Device == 0:
		return claims{}, badToken(tokenClaims)
	}
	return c, nil
}

// Authenticate tells whose a token is. A token that is not good is a
// [*protocol.Error] with code bad_token; any other error means that it could
// not be checked.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (Identity, error) {
	kind, check := kindOwn, a.authenticateOwn
	if a.external != nil && a.external.issued(token) {
		kind, check = kindExternal, a.authenticateExternal
	}
	id, err := check(ctx, token)
	a.metrics.checked.WithLabelValues(kind, tokenResult(err)).Inc()
	return id, err
}

func (a *Authenticator) authenticateOwn(ctx context.Context, token string) (Identity, error) {
	c, err := a.parse(token)
	if err != nil {
		return Identity{}, err
	}
	account := directory.Account(c.Subject)
	d, err := a.accounts.DeviceOf(ctx, account, c.Device)
	if err != nil {
		return Identity{}, orRemoved(err)
	}
	if !good(d.Token, c.Generation) {
		return Identity{}, badToken(tokenReplaced)
	}
	n, err := a.numberOf(ctx, account)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Account: account, Device: c.Device, Number: n, Expires: c.ExpiresAt.Time, Seen: d.Seen, Missed: d.Missed}, nil
}

func (a *Authenticator) numberOf(ctx context.Context, account directory.Account) (e164.Number, error) {
	rec, err := a.accounts.AccountOf(ctx, account)
	return rec.Number, orRemoved(err)
}

func orRemoved(err error) error {
	if errors.Is(err, directory.ErrNotFound) {
		return badToken(tokenRemoved)
	}
	return err
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
		if a.external != nil && a.external.issued(token) {
			return protocol.TokenReply{}, protocol.NewError(protocol.CodeUnsupported, "this token is renewed by the system that it is from")
		}
		return protocol.TokenReply{}, err
	}
	account := directory.Account(c.Subject)
	if err := a.refreshes.take(device{account, c.Device}); err != nil {
		return protocol.TokenReply{}, err
	}
	d, err := a.accounts.UpdateDevice(ctx, account, c.Device, func(r *directory.DeviceRecord) error {
		if !good(r.Token, c.Generation) {
			return badToken(tokenReplaced)
		}
		if c.Generation == r.Token.Generation {
			r.Token = directory.TokenState{Generation: c.Generation + 1, Rotated: time.Now().UTC().Truncate(time.Millisecond)}
		}
		return nil
	})
	if err != nil {
		return protocol.TokenReply{}, orRemoved(err)
	}
	return a.reply(ctx, d)
}

// Revoke removes the token's device, and with it every token of it.
func (a *Authenticator) Revoke(ctx context.Context, token string) error {
	id, err := a.Authenticate(ctx, token)
	if err != nil {
		return err
	}
	return a.removeDevice(ctx, id.Account, id.Device)
}

func (a *Authenticator) reply(ctx context.Context, d directory.DeviceRecord) (protocol.TokenReply, error) {
	n, err := a.numberOf(ctx, d.Account)
	if err != nil {
		return protocol.TokenReply{}, err
	}
	token, expires, err := a.sign(d)
	if err != nil {
		return protocol.TokenReply{}, fmt.Errorf("sign token: %w", err)
	}
	return protocol.TokenReply{
		Account: string(d.Account), Device: uint32(d.Device), Number: n,
		Token: token, ExpiresMS: time.Until(expires).Milliseconds(),
	}, nil
}

// admit makes a device for whoever has proved to hold a number. The same proof
// again gives the same device.
func (a *Authenticator) admit(ctx context.Context, n e164.Number, proof, name string) (directory.DeviceRecord, error) {
	rec, err := a.accounts.Register(ctx, n)
	if err != nil {
		return directory.DeviceRecord{}, err
	}
	return a.addDevice(ctx, rec.Account, name, externalCode+proof)
}

// readmit answers a proof once more that gave a device already. It is for a
// client that did not hear so; one that has refreshed its token did.
func (a *Authenticator) readmit(ctx context.Context, account directory.Account, dev directory.Device, generation uint64) (protocol.TokenReply, error) {
	d, err := a.accounts.DeviceOf(ctx, account, dev)
	if errors.Is(err, directory.ErrNotFound) || err == nil && d.Token.Generation != generation {
		return protocol.TokenReply{}, codeExpired()
	}
	if err != nil {
		return protocol.TokenReply{}, err
	}
	return a.reply(ctx, d)
}
