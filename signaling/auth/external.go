package auth

import (
	"context"
	"errors"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"switchboard/directory/e164"
)

// external checks the tokens of the operator's identity system.
type external struct {
	config External
	keys   *keySet
	parser *jwt.Parser
	peek   *jwt.Parser
}

const (
	// maxDeviceClaim bounds the device's name in a token, in bytes.
	maxDeviceClaim = 128
	// verifiedClaim is of OpenID Connect Core §5.1. It need not be there, but
	// must not be false.
	verifiedClaim = "phone_number_verified"
)

// publicAlgorithms have keys that can be public: with HMAC among them, a token
// signed with the text of a public key would be accepted.
var publicAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func newExternal(ctx context.Context, c External, loads *prometheus.CounterVec) (*external, error) {
	keys, err := openKeySet(ctx, c, loads)
	if err != nil {
		return nil, err
	}
	return &external{
		config: c, keys: keys, peek: jwt.NewParser(),
		parser: jwt.NewParser(jwt.WithValidMethods(publicAlgorithms), jwt.WithIssuer(c.Issuer), jwt.WithAudience(c.Audience),
			jwt.WithExpirationRequired(), jwt.WithLeeway(leeway)),
	}, nil
}

// issued reports whether a token says that it is from the identity system. It
// proves nothing.
func (x *external) issued(token string) bool {
	if len(token) > maxToken {
		return false
	}
	var c jwt.RegisteredClaims
	_, _, err := x.peek.ParseUnverified(token, &c)
	return err == nil && c.Issuer == x.config.Issuer
}

// parse checks a token. If its key is not known, the keys are read anew: the
// system may have changed them. Errors are bad_token, or tell that the keys are
// not to be had.
func (x *external) parse(ctx context.Context, token string) (jwt.MapClaims, error) {
	set, err := x.keys.current(ctx)
	if err != nil {
		return nil, err
	}
	c := jwt.MapClaims{}
	_, err = x.parser.ParseWithClaims(token, c, set.keys.KeyfuncCtx(ctx))
	if errors.Is(err, jwkset.ErrKeyNotFound) {
		if set, err = x.keys.newer(ctx, set); err != nil {
			return nil, err
		}
		c = jwt.MapClaims{}
		_, err = x.parser.ParseWithClaims(token, c, set.keys.KeyfuncCtx(ctx))
	}
	if err != nil {
		return nil, badToken(whyBad(err))
	}
	return c, nil
}

// subject is whom an external token is for.
type subject struct {
	number  e164.Number
	device  string
	expires time.Time
}

func (x *external) subject(c jwt.MapClaims) (subject, error) {
	text, _ := c[x.config.NumberClaim].(string)
	n, err := e164.Parse(text, "")
	if err != nil {
		return subject{}, badToken(tokenNumber)
	}
	if v, ok := c[verifiedClaim]; ok && v != true && v != "true" {
		return subject{}, badToken(tokenUnverified)
	}
	device, _ := c[x.config.DeviceClaim].(string)
	if device == "" || len(device) > maxDeviceClaim || !printable(device) {
		return subject{}, badToken(tokenClaims)
	}
	expires, err := c.GetExpirationTime()
	if err != nil || expires == nil {
		return subject{}, badToken(tokenClaims)
	}
	return subject{n, device, expires.Time}, nil
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// authenticateExternal finds or makes the account and the device that a token
// of the identity system names.
func (a *Authenticator) authenticateExternal(ctx context.Context, token string) (Identity, error) {
	c, err := a.external.parse(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	s, err := a.external.subject(c)
	if err != nil {
		return Identity{}, err
	}
	rec, err := a.accounts.Register(ctx, s.number)
	if err != nil {
		return Identity{}, err
	}
	d, err := a.addDevice(ctx, rec.Account, s.device, externalToken+s.device)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Account: rec.Account, Device: d.Device, Number: s.number, Expires: s.expires, External: true, Seen: d.Seen, Missed: d.Missed}, nil
}
