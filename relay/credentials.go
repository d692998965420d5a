package relay

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pion/turn/v5"
)

// A username is <expiry>:<secret id>:<call>:<user tag>, the expiry in seconds
// since 1970; the password is the HMAC of it under the secret. So a relay
// checks credentials without asking anybody, and nobody changes any part.

// Why credentials are not accepted.
var (
	errMalformed     = errors.New("malformed username")
	errUnknownSecret = errors.New("unknown secret")
	errExpired       = errors.New("expired")
	errRealm         = errors.New("other realm")
)

// Minter makes credentials. It may be used by several goroutines.
type Minter struct {
	secret Secret
	ttl    time.Duration
}

// NewMinter returns a Minter that uses the first of secrets; relays must have
// it as one of theirs. Credentials open allocations for ttl.
func NewMinter(secrets []Secret, ttl time.Duration) (*Minter, error) {
	if len(secrets) == 0 {
		return nil, errors.New("secrets: none")
	}
	if err := checkSecrets(secrets); err != nil {
		return nil, err
	}
	if ttl <= 0 {
		return nil, errors.New("credential_ttl: not positive")
	}
	return &Minter{secret: secrets[0], ttl: ttl}, nil
}

// Mint returns credentials for one user in one call, which began some time before
// now, and when they expire. The user stands in them as a tag that is the same for
// all calls that began on one day, so that quotas count the user's allocations, and
// for the whole of a call, so that what was opened in it stays his; it says nothing
// to who does not have the secret.
func (m *Minter) Mint(call, user string, began, now time.Time) (username, password string, expires time.Time) {
	expires = now.Add(m.ttl).Truncate(time.Second)
	username = strings.Join([]string{
		strconv.FormatInt(expires.Unix(), 10),
		m.secret.ID,
		m.callID(call),
		m.short("user", began.UTC().Format(time.DateOnly), user),
	}, ":")
	return username, passwordOf(m.secret.Key, username), expires
}

var isCallID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// callID returns call, or what stands for it when it does not fit in.
func (m *Minter) callID(call string) string {
	if isCallID.MatchString(call) {
		return call
	}
	return m.short("call", call)
}

// short returns 80 bits of the HMAC of words.
func (m *Minter) short(words ...string) string {
	h := hmac.New(sha256.New, m.secret.Key)
	h.Write([]byte(strings.Join(words, "\x00")))
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)[:10]))
}

func passwordOf(k Key, username string) string {
	h := hmac.New(sha256.New, k)
	h.Write([]byte(username))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// identity is who uses credentials. It stays the same when credentials for the
// same call are minted anew.
type identity struct {
	call string
	user string // the tag
}

// userID is by which the TURN library knows who owns an allocation, and all that
// it says to who opens its socket. So the client is in it, which stays the same
// for as long as the allocation exists.
func userID(who identity, c client) string {
	return who.call + ":" + who.user + ":" + string(c.over) + ":" + c.addr.String()
}

// parseUserID returns what a user id was made of.
func parseUserID(id string) (identity, client, error) {
	fields := strings.SplitN(id, ":", 4)
	if len(fields) != 4 {
		return identity{}, client{}, errMalformed
	}
	addr, err := netip.ParseAddrPort(fields[3])
	return identity{call: fields[0], user: fields[1]}, client{addr: addr, over: transport(fields[2])}, err
}

// keyring checks credentials.
type keyring struct {
	realm   string
	secrets []Secret
	maxCall time.Duration
}

// maxUsername is above the longest username that Mint returns, in bytes.
const maxUsername = 128

// parse takes a username apart, without checking that anybody minted it.
func (k *keyring) parse(username string) (identity, Secret, time.Time, error) {
	if len(username) > maxUsername {
		return identity{}, Secret{}, time.Time{}, errMalformed
	}
	fields := strings.Split(username, ":")
	if len(fields) != 4 || fields[2] == "" || fields[3] == "" {
		return identity{}, Secret{}, time.Time{}, errMalformed
	}
	expiry, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return identity{}, Secret{}, time.Time{}, errMalformed
	}
	for _, s := range k.secrets {
		if s.ID == fields[1] {
			return identity{call: fields[2], user: fields[3]}, s, time.Unix(expiry, 0), nil
		}
	}
	return identity{}, Secret{}, time.Time{}, errUnknownSecret
}

// key returns whose the credentials are and the key that a message with them is
// authenticated with (RFC 8489 section 9.2.2). Who sent the message has shown
// nothing until its MESSAGE-INTEGRITY has been checked, in constant time, with
// that key. Credentials open allocations until they expire, and keep what they
// opened for maxCall longer.
func (k *keyring) key(username, realm string, opens bool, now time.Time) (identity, []byte, error) {
	who, secret, expires, err := k.parse(username)
	if err != nil {
		return identity{}, nil, err
	}
	if realm != k.realm {
		return identity{}, nil, errRealm
	}
	if !opens {
		expires = expires.Add(k.maxCall)
	}
	if now.After(expires) {
		return identity{}, nil, errExpired
	}
	return who, turn.GenerateAuthKey(username, realm, passwordOf(secret.Key, username)), nil
}
