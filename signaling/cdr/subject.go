package cdr

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"
)

// subject is the one of a record; it is that record's alone.
func (r *Record) subject() string {
	return fmt.Sprintf("cdr.%s.%s.%s.%s.%s", token(r.Region), token(r.Caller.Account), token(r.Callee.Account), hash(r.Call), r.began())
}

// began tells apart calls that have the same id.
func (r *Record) began() string { return strconv.FormatInt(r.Created.UnixMilli(), 36) }

// id is the same whoever writes the record of a call.
func (r *Record) id() string { return hash(r.Call) + "." + r.began() }

// hash stands for a call's id.
func hash(call string) string {
	sum := sha256.Sum256([]byte(call))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10]))
}

// unknown stands in a subject for what is not known. No region or account is so
// called.
const unknown = "_"

// token is s as a part of a subject, if it can be one.
func token(s string) string {
	ok := len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
	}) < 0
	if !ok {
		return unknown
	}
	return cmp.Or(s, unknown)
}

const anyRecord = "cdr.*.*.*.*.*"

// filters are the subjects that the records which q asks for can have, nil if q
// names neither an account nor a call.
func (q *Query) filters() []string {
	call := "*"
	if q.Call != "" {
		call = hash(q.Call)
	}
	switch {
	case q.Account != "":
		a := token(q.Account)
		return []string{"cdr.*." + a + ".*." + call + ".*", "cdr.*.*." + a + "." + call + ".*"}
	case q.Call != "":
		return []string{"cdr.*.*.*." + call + ".*"}
	}
	return nil
}
