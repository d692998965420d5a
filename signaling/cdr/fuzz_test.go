package cdr_test

import (
	"encoding/json"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/signaling/cdr"
	"switchboard/signaling/cdr/cdrtest"
)

// FuzzRecord reads whatever may lie in the stream. What is taken stays the same when it
// is written once more, and has a subject that a stream takes.
func FuzzRecord(f *testing.F) {
	whole, err := json.Marshal(cdrtest.Call("c1"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(whole), "", "null", `{"v":1}`, `{"v":2}`, `{"v":1,"region":"a.b *>","caller":{"account":"\u0000"},"created":"9999-12-31T23:59:59Z"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := cdr.Decode(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := cdr.Decode(text)
		if diff := cmp.Diff(r, again); err != nil || diff != "" {
			t.Errorf("%v: read (-), written and read (+):\n%s", err, diff)
		}
		if s := cdr.Subject(r); !subject.MatchString(s) {
			t.Errorf("subject %q", s)
		}
	})
}

var subject = regexp.MustCompile(`^cdr(\.([a-z0-9-]{1,64}|_)){3}\.[a-z2-7]{16}\.-?[0-9a-z]+$`)
