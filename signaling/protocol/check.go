package protocol

import (
	"slices"
	"unicode/utf8"
)

// check collects the first broken rule of a message. Values never enter the
// error, because errors reach logs.
type check struct{ first error }

func (c *check) err() error { return c.first }

func (c *check) that(field string, ok bool, problem string) {
	if !ok && c.first == nil {
		c.first = NewError(CodeInvalid, "field %q %s", field, problem)
	}
}

func (c *check) text(field, s string, least, most int) {
	c.that(field, len(s) >= least, "is missing")
	c.that(field, len(s) <= most, "is too long")
	c.that(field, utf8.ValidString(s), "is not UTF-8")
}

// id checks an id that the client chose. It becomes part of keys and subjects,
// so its alphabet is small.
func (c *check) id(field, s string) {
	c.text(field, s, 1, MaxID)
	for _, r := range []byte(s) {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
		c.that(field, ok, "has a character outside A-Z a-z 0-9 - _")
	}
}

func (c *check) word(field, s string, words ...string) {
	c.that(field, slices.Contains(words, s), "is none of the known words")
}

func (c *check) media(m []Media) {
	c.that("media", len(m) > 0 && len(m) <= 2, "must name audio, video or both")
	for i, k := range m {
		c.word("media", string(k), string(Audio), string(Video))
		c.that("media", !slices.Contains(m[:i], k), "repeats a medium")
	}
}
