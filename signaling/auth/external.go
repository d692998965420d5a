package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// external checks the tokens of the operator's identity system.
type external struct {
	config External
	keys   keyfunc.Keyfunc
	parser *jwt.Parser
	peek   *jwt.Parser
}

const (
	// jwksTimeout bounds one request for the keys.
	jwksTimeout = 5 * time.Second
	// maxJWKS bounds what is read of them, in bytes.
	maxJWKS = 1 << 20
	// maxDeviceClaim bounds the device's name in a token, in bytes.
	maxDeviceClaim = 128
)

func newExternal(ctx context.Context, c External) (*external, error) {
	storage, err := openJWKS(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("keys of external tokens: %w", err)
	}
	keys, err := keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: storage})
	if err != nil {
		return nil, fmt.Errorf("keys of external tokens: %w", err)
	}
	return &external{
		config: c, keys: keys, peek: jwt.NewParser(),
		parser: jwt.NewParser(
			// Public keys alone: a token signed with HMAC by a public key is a
			// known way in.
			jwt.WithValidMethods([]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}),
			jwt.WithIssuer(c.Issuer), jwt.WithAudience(c.Audience), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway)),
	}, nil
}

func openJWKS(ctx context.Context, c External) (jwkset.Storage, error) {
	if c.JWKSURL != "" {
		return jwkset.NewStorageFromHTTP(c.JWKSURL, jwkset.HTTPClientStorageOptions{
			Ctx: ctx, HTTPTimeout: jwksTimeout, RefreshInterval: c.Refresh,
			Client: &http.Client{Timeout: jwksTimeout, Transport: limitedBodies{http.DefaultTransport}},
		})
	}
	data, err := os.ReadFile(c.JWKSFile)
	if err != nil {
		return nil, err
	}
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("%s is no JWK set: %w", c.JWKSFile, err)
	}
	return set.ToStorage()
}

// limitedBodies bounds the bodies of answers.
type limitedBodies struct{ next http.RoundTripper }

func (l limitedBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxJWKS)
	}
	return resp, err
}

// issued reports whether a token says that it is from the identity system. It
// proves nothing.
func (x *external) issued(token string) bool {
	var c jwt.RegisteredClaims
	_, _, err := x.peek.ParseUnverified(token, &c)
	return err == nil && c.Issuer == x.config.Issuer
}

// authenticateExternal finds or makes the account and the device that a token
// of the identity system names.
func (a *Authenticator) authenticateExternal(ctx context.Context, token string) (Identity, error) {
	x := a.external
	c := jwt.MapClaims{}
	_, err := x.parser.ParseWithClaims(token, c, x.keys.Keyfunc)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return Identity{}, badToken("has expired")
	case err != nil:
		return Identity{}, badToken("is not signed by a known key, or not for this service")
	}
	text, _ := c[x.config.NumberClaim].(string)
	n, err := e164.Parse(text, "")
	if err != nil {
		return Identity{}, badToken("names no phone number")
	}
	device, _ := c[x.config.DeviceClaim].(string)
	if device == "" || len(device) > maxDeviceClaim {
		return Identity{}, badToken("names no device")
	}
	rec, err := a.accounts.Register(ctx, n)
	if err != nil {
		return Identity{}, err
	}
	d, err := a.addDevice(ctx, rec.Account, device, "ext:"+device)
	if err != nil {
		return Identity{}, err
	}
	expires, err := c.GetExpirationTime()
	if err != nil {
		return Identity{}, protocol.NewError(protocol.CodeToken, "the token has no end")
	}
	return Identity{Account: rec.Account, Device: d.Device, Number: n, Expires: expires.Time}, nil
}
