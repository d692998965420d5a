package relay

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// A nonce is the time at which it was made, in seconds since 1970, and an HMAC
// over that and over the client that it is for: address, port and transport. So
// who shows one has received it where it says that it is, the relay remembers
// nobody, and all relays that have the same secrets take each other's, also after
// a restart.

const (
	nonceTime = 4
	nonceMAC  = 14 // 112 bits, good for an hour
	// nonceSize is the length of a nonce in characters. It is part of every answer
	// to who has no credentials, which must be short, and it is that of the TURN
	// library's own nonces, which take its place.
	nonceSize = (nonceTime + nonceMAC) * 4 / 3
	// nonceLife is how long a nonce is taken (RFC 8656 section 5).
	nonceLife = time.Hour
	// nonceSkew is how far the clocks of relays may differ.
	nonceSkew = 5 * time.Minute
)

// nonces makes and checks nonces. It may be used by several goroutines.
type nonces struct {
	keys [][]byte // of the secrets, in their order; the first makes nonces
}

func newNonces(secrets []Secret) nonces {
	var n nonces
	for _, s := range secrets {
		h := hmac.New(sha256.New, s.Key)
		h.Write([]byte("switchboard relay nonce")) // no username has spaces
		n.keys = append(n.keys, h.Sum(nil))
	}
	return n
}

// make returns a nonce for c.
func (n nonces) make(c client, now time.Time) string {
	var b [nonceTime + nonceMAC]byte
	binary.BigEndian.PutUint32(b[:], uint32(now.Unix()))
	mac := nonceSum(n.keys[0], b[:nonceTime], c)
	copy(b[nonceTime:], mac[:nonceMAC])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// check reports whether a nonce was made for c, with any of the secrets, and is
// not too old. It takes constant time for what is as long as a nonce.
func (n nonces) check(nonce []byte, c client, now time.Time) bool {
	var b [nonceTime + nonceMAC]byte
	if len(nonce) != nonceSize {
		return false
	}
	if _, err := base64.RawURLEncoding.Decode(b[:], nonce); err != nil {
		return false
	}
	age := now.Sub(time.Unix(int64(binary.BigEndian.Uint32(b[:])), 0))
	if age > nonceLife || age < -nonceSkew {
		return false
	}
	for _, key := range n.keys {
		mac := nonceSum(key, b[:nonceTime], c)
		if hmac.Equal(mac[:nonceMAC], b[nonceTime:]) {
			return true
		}
	}
	return false
}

func nonceSum(key, at []byte, c client) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(at)
	addr := c.addr.Addr().As16()
	h.Write(addr[:])
	h.Write(binary.BigEndian.AppendUint16(nil, c.addr.Port()))
	h.Write([]byte(c.over))
	return h.Sum(nil)
}
