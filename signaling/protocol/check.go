package protocol

import (
	"fmt"
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

// rule is a bound on a field, for [check] to hold a value against and for the
// description of the messages to tell.
type rule struct {
	kind        ruleKind
	least, most int64
	words       []string
}

type ruleKind uint8

const (
	textRule   ruleKind = iota // bytes of a text, least to most
	idRule                     // an id that the client chose
	wordRule                   // one of words
	numberRule                 // a number, least to most
	countRule                  // entries of a list or a map, least to most
)

// observe, unless it is nil, is told of every rule that is applied. Only the test
// that describes the messages sets it, and it runs alone.
var observe func(field string, r rule)

func (c *check) applies(field string, r rule) {
	if observe != nil {
		observe(field, r)
	}
}

func (c *check) text(field, s string, least, most int) {
	c.applies(field, rule{kind: textRule, least: int64(least), most: int64(most)})
	c.that(field, len(s) >= least, "is missing")
	c.that(field, len(s) <= most, "is too long")
	c.that(field, utf8.ValidString(s), "is not UTF-8")
}

// id checks an id that the client chose. It becomes part of keys and subjects,
// so its alphabet is small.
func (c *check) id(field, s string) {
	c.text(field, s, 1, MaxID)
	c.applies(field, rule{kind: idRule})
	for _, r := range []byte(s) {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
		c.that(field, ok, "has a character outside A-Z a-z 0-9 - _")
	}
}

// number checks that n is within bounds.
func (c *check) number(field string, n, least, most int64) {
	c.applies(field, rule{kind: numberRule, least: least, most: most})
	if n < least || n > most {
		c.that(field, false, fmt.Sprintf("is not within %d to %d", least, most))
	}
}

// count checks how many entries there are.
func (c *check) count(field string, n, least, most int) {
	c.applies(field, rule{kind: countRule, least: int64(least), most: int64(most)})
	c.that(field, n >= least, "is missing")
	if n > most {
		c.that(field, false, fmt.Sprintf("has more than %d entries", most))
	}
}

func (c *check) word(field, s string, words ...string) {
	c.applies(field, rule{kind: wordRule, words: words})
	c.that(field, slices.Contains(words, s), "is none of the known words")
}

func (c *check) media(m []Media) {
	c.count("media", len(m), 1, 2)
	for i, k := range m {
		c.word("media", string(k), string(Audio), string(Video))
		c.that("media", !slices.Contains(m[:i], k), "repeats a medium")
	}
}
