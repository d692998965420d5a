package relay

import (
	"errors"
	"time"

	"github.com/pion/stun/v4"
)

// errPassword says that MESSAGE-INTEGRITY was not made with the password.
var errPassword = errors.New("wrong password")

// authenticate checks the credentials of a request, by the long-term credential
// mechanism and in its order (RFC 8489 section 9.2.4): 401 without credentials,
// 400 with half of them, 401 with wrong ones, 438 with a nonce that is not good or
// not this client's. When key is nil the request goes no further, and answer is
// what the client is told; nothing, when the limits for strangers have been
// reached.
func (g *guard) authenticate(m *stun.Message, c client, now time.Time) (who identity, key stun.MessageIntegrity, answer []byte) {
	if !m.Contains(stun.AttrMessageIntegrity) {
		return who, nil, g.challenge(m, c, stun.CodeUnauthorized, now)
	}
	username, errUsername := m.Get(stun.AttrUsername)
	realm, errRealm := m.Get(stun.AttrRealm)
	nonce, errNonce := m.Get(stun.AttrNonce)
	if errUsername != nil || errRealm != nil || errNonce != nil {
		g.metrics.credentials[credentialsMalformed].Inc()
		return who, nil, g.stranger(m, c, stun.CodeBadRequest)
	}
	fresh := g.nonces.check(nonce, c, now)
	if !fresh && !g.strangers.may(c.addr.Addr()) {
		return who, nil, nil // it cannot succeed, and an answer is not to be had: no work for it
	}
	who, key, err := g.keys.key(string(username), string(realm), m.Type.Method == stun.MethodAllocate, now)
	if err == nil && key.Check(m) != nil {
		err = errPassword
	}
	switch {
	case err != nil:
		g.metrics.credentials[verdictOf(err)].Inc()
		if !g.strangers.failed.take(c.addr.Addr()) {
			g.drop(dropFailedAuth)
			return who, nil, nil
		}
		return who, nil, g.challenge(m, c, stun.CodeUnauthorized, now)
	case !fresh:
		g.metrics.credentials[credentialsStale].Inc()
		return who, nil, g.challenge(m, c, stun.CodeStaleNonce, now)
	}
	g.metrics.credentials[credentialsOK].Inc()
	return who, key, nil
}

// challenge answers with what a client needs to authenticate.
func (g *guard) challenge(m *stun.Message, c client, code stun.ErrorCode, now time.Time) []byte {
	return g.stranger(m, c, code, stun.NewNonce(g.nonces.make(c, now)), stun.NewRealm(g.realm))
}

// overhead is what a packet over IPv4 and UDP has around it on Ethernet. Over
// IPv6 and TCP it is more, and what is added to it weighs less.
const overhead = 14 + 20 + 8

// small reports whether an answer is at most 1.9 times as long on the wire as
// what it answers.
func small(answer, request []byte) bool {
	return 10*(len(answer)+overhead) <= 19*(len(request)+overhead)
}

// stranger answers who has not shown credentials, as far as the limits for
// strangers allow it; a request may be so short that no answer is short enough.
func (g *guard) stranger(m *stun.Message, c client, code stun.ErrorCode, with ...stun.Setter) []byte {
	if !g.strangers.may(c.addr.Addr()) {
		return nil
	}
	return g.toStranger(m, c, reply(m, stun.ClassErrorResponse, code, with...))
}

func (g *guard) toStranger(m *stun.Message, c client, answer []byte) []byte {
	if !small(answer, m.Raw) {
		g.drop(dropUnauthenticated)
		return nil
	}
	if !g.strangers.take(c.addr.Addr()) {
		return nil
	}
	return answer
}

// binding answers a Binding request, which makes the relay a STUN server (RFC
// 8489 section 12).
func (g *guard) binding(m *stun.Message, c client) []byte {
	if !g.strangers.may(c.addr.Addr()) {
		return nil
	}
	if unknown := notUnderstood(m); len(unknown) > 0 {
		return g.stranger(m, c, stun.CodeUnknownAttribute, unknown)
	}
	at := stun.XORMappedAddress{IP: c.addr.Addr().AsSlice(), Port: int(c.addr.Port())}
	return g.toStranger(m, c, reply(m, stun.ClassSuccessResponse, 0, &at, stun.Fingerprint))
}

// reply builds the answer to a request; an error has a code.
func reply(m *stun.Message, class stun.MessageClass, code stun.ErrorCode, with ...stun.Setter) []byte {
	setters := []stun.Setter{&stun.Message{TransactionID: m.TransactionID}, stun.NewType(m.Type.Method, class)}
	if code != 0 {
		setters = append(setters, &stun.ErrorCodeAttribute{Code: code})
	}
	answer, err := stun.Build(append(setters, with...)...)
	if err != nil {
		return nil // never: what is built here fits
	}
	return answer.Raw
}

// notUnderstood lists the attributes of a request that must be understood (RFC
// 8489 section 6.3.1) and are not.
func notUnderstood(m *stun.Message) (unknown stun.UnknownAttributes) {
	for _, a := range m.Attributes {
		if a.Type.Required() && !understood(a.Type, m.Type.Method) && len(unknown) < maxUnknown {
			unknown = append(unknown, a.Type)
		}
	}
	return unknown
}

// maxUnknown bounds an answer that lists attributes.
const maxUnknown = 16

func understood(a stun.AttrType, in stun.Method) bool {
	switch a {
	case stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrRealm, stun.AttrNonce,
		stun.AttrChannelNumber, stun.AttrLifetime, stun.AttrXORPeerAddress, stun.AttrData, stun.AttrRequestedAddressFamily,
		stun.AttrEvenPort, stun.AttrRequestedTransport, stun.AttrReservationToken,
		// Of answers alone.
		stun.AttrMappedAddress, stun.AttrErrorCode, stun.AttrUnknownAttributes, stun.AttrXORMappedAddress, stun.AttrXORRelayedAddress,
		// ICE's, which mean nothing to a server.
		stun.AttrPriority, stun.AttrUseCandidate:
		return true
	case stun.AttrDontFragment:
		return in != stun.MethodAllocate // RFC 8656 section 7.2: who cannot do it says so there
	}
	return false
}
