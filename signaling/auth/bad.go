package auth

import (
	"errors"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"switchboard/signaling/protocol"
)

// badReason says why a token is not good: info.reason of the error, and the
// label of the metric.
type badReason string

const (
	tokenMissing    badReason = "missing"
	tokenMalformed  badReason = "malformed"
	tokenSignature  badReason = "signature" // or no key that is known
	tokenExpired    badReason = "expired"
	tokenEarly      badReason = "not_yet"
	tokenAudience   badReason = "audience" // for another service, or from another issuer
	tokenClaims     badReason = "claims"   // does not say whom it is for
	tokenNumber     badReason = "number"   // its number cannot be, or was not verified
	tokenReplaced   badReason = "replaced" // by a refresh
	tokenRemoved    badReason = "removed"  // the device was
	tokenUnverified badReason = "unverified"
)

var badSentences = map[badReason]string{
	tokenMissing:    "there is no token",
	tokenMalformed:  "this is no token",
	tokenSignature:  "the token is not signed by a known key",
	tokenExpired:    "the token has expired",
	tokenEarly:      "the token is not good yet",
	tokenAudience:   "the token is for another service",
	tokenClaims:     "the token does not say whom it is for",
	tokenNumber:     "the token holds no phone number",
	tokenReplaced:   "the token was replaced by a newer one",
	tokenRemoved:    "the token is of a device that was removed",
	tokenUnverified: "the phone number in the token was not verified",
}

func badToken(why badReason) *protocol.Error {
	return protocol.NewError(protocol.CodeToken, "%s", badSentences[why]).With("reason", string(why))
}

var errUnknownKey = errors.New("unknown key")

// whyBad sorts the errors of parsing. They are not passed on: they may hold
// parts of the token.
func whyBad(err error) badReason {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return tokenExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return tokenEarly
	case errors.Is(err, jwt.ErrTokenInvalidIssuer), errors.Is(err, jwt.ErrTokenInvalidAudience):
		return tokenAudience
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing), errors.Is(err, jwt.ErrTokenInvalidClaims):
		return tokenClaims
	case errors.Is(err, errUnknownKey), errors.Is(err, jwkset.ErrKeyNotFound),
		errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return tokenSignature
	}
	return tokenMalformed
}

// tokenResult is the label of a token's check.
func tokenResult(err error) string {
	var e *protocol.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e) && e.Code == protocol.CodeToken:
		return e.Info["reason"]
	}
	return "unchecked"
}
