package directory

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"

	"switchboard/directory/e164"
)

// markBytes is the length of a mark: two contacts of one account are mixed up
// once in a trillion trillions.
const markBytes = 10

// mark stands for a contact: it cannot be read back without the secret, and is
// another one in each account's list, so that lists cannot be compared.
type mark [markBytes]byte

func contactMark(secret []byte, owner Account, n e164.Number) mark {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("contact\x00" + string(owner) + "\x00" + n.E164()))
	return mark(mac.Sum(nil)[:markBytes])
}

func compareMarks(a, b mark) int { return bytes.Compare(a[:], b[:]) }

// marks are a set, sorted. As text they are base64 of all of them in a row.
type marks []mark

func (m marks) has(one mark) bool {
	_, ok := slices.BinarySearchFunc(m, one, compareMarks)
	return ok
}

// with is the union of two sets.
func (m marks) with(more marks) marks {
	all := slices.Concat(m, more)
	slices.SortFunc(all, compareMarks)
	return slices.Compact(all)
}

// without is what is in m alone.
func (m marks) without(less marks) marks {
	return slices.DeleteFunc(slices.Clone(m), less.has)
}

func (m marks) MarshalText() ([]byte, error) {
	raw := make([]byte, 0, len(m)*markBytes)
	for _, one := range m {
		raw = append(raw, one[:]...)
	}
	return base64.RawStdEncoding.AppendEncode(nil, raw), nil
}

var errMarks = errors.New("not a set of marks")

func (m *marks) UnmarshalText(text []byte) error {
	raw, err := base64.RawStdEncoding.Strict().AppendDecode(nil, text)
	if err != nil || len(raw)%markBytes != 0 {
		return errMarks
	}
	all := make(marks, 0, len(raw)/markBytes)
	for one := range slices.Chunk(raw, markBytes) {
		all = append(all, mark(one))
	}
	for i := 1; i < len(all); i++ {
		if compareMarks(all[i-1], all[i]) >= 0 {
			return errMarks // a search would miss some
		}
	}
	*m = all
	return nil
}
