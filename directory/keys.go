package directory

import (
	"crypto/hmac"
	"crypto/sha256"
	"strconv"
	"strings"

	"switchboard/directory/e164"
)

// numberKeys is what the keys of numbers begin with.
const numberKeys = "e1"

// numberKey is the key of a number: nobody who sees it, without the secret,
// can tell the number, not even by trying them all. The e1 names the secret's
// generation.
func numberKey(secret []byte, n e164.Number) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(n.E164()))
	return numberKeys + "." + accountEncoding.EncodeToString(mac.Sum(nil)[:16])
}

func accountKey(a Account) string { return "a." + string(a) }

func deviceKey(a Account, d Device) string {
	return string(a) + "." + strconv.FormatUint(uint64(d), 10)
}

func leaseKey(incarnation string) string { return "n." + incarnation }

// parseDeviceKey is the inverse of deviceKey.
func parseDeviceKey(key string) (Account, Device, bool) {
	acct, dev, ok := strings.Cut(key, ".")
	if !ok || !Account(acct).Valid() {
		return "", 0, false
	}
	d, err := strconv.ParseUint(dev, 10, 32)
	if err != nil || d == 0 || strconv.FormatUint(d, 10) != dev {
		return "", 0, false
	}
	return Account(acct), Device(d), true
}

// validNode reports whether a node's name, or the kind of a request, can stand
// in a subject.
func validNode(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
	}) < 0
}
