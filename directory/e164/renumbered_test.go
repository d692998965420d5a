package e164_test

import (
	"encoding/json"
	"slices"
	"testing"

	"switchboard/directory/e164"
)

var plans = []struct {
	name, old, now string
	valid          bool // the old form can be assigned today
}{
	{"Mexico", "+5215512345678", "+525512345678", false},
	{"Argentina", "+541123456789", "+5491123456789", true},
	{"Brazil", "+551187654321", "+5511987654321", false},
	{"Benin", "+22990011234", "+2290190011234", false},
	{"Côte d'Ivoire, Moov", "+22501123456", "+2250101123456", false},
	{"Côte d'Ivoire, MTN", "+22505123456", "+2250505123456", false},
	{"Côte d'Ivoire, Orange", "+22507123456", "+2250707123456", false},
	{"Côte d'Ivoire, a wire", "+22521234567", "+2252721234567", false},
	{"Vietnam, Viettel", "+841621234567", "+84321234567", false},
	{"Vietnam, MobiFone", "+841211234567", "+84791234567", false},
	{"Vietnam, Vinaphone", "+841271234567", "+84811234567", false},
}

func TestAlternates(t *testing.T) {
	for _, c := range plans {
		now := must(t, c.now)
		var old e164.Number
		if err := json.Unmarshal([]byte(`"`+c.old+`"`), &old); err != nil || old.E164() != c.old {
			t.Errorf("%s: what is stored under the old plan is read as %q, %v", c.name, old.E164(), err)
			continue
		}
		if got := e164.Alternates(now); !slices.Contains(got, old) {
			t.Errorf("%s: the old form is not among the %d of the new", c.name, len(got))
		}
		if got := e164.Alternates(old); !slices.Contains(got, now) || slices.Contains(got, old) {
			t.Errorf("%s: the new form is not among the %d of the old", c.name, len(got))
		}
		want := c.now
		if c.valid {
			want = c.old
		}
		if got, err := e164.Parse(c.old, ""); err != nil || got.E164() != want {
			t.Errorf("%s: Parse(%q) = %q, %v; want %q", c.name, c.old, got.E164(), err, want)
		}
	}
}

func TestNoAlternates(t *testing.T) {
	for _, text := range []string{
		"+14155550101", "+4930901820",
		"+5511941234567", // without the 9 it would be somebody's wire
		"+551132345678",  // a wire
		"+842438234567",  // a wire
	} {
		if got := e164.Alternates(must(t, text)); len(got) > 0 {
			t.Errorf("%s has the form %s", text, got[0].E164())
		}
	}
	if got := e164.Alternates(e164.Number{}); got != nil {
		t.Errorf("no number has %d forms", len(got))
	}
}

func FuzzAlternates(f *testing.F) {
	for _, c := range plans {
		f.Add(c.old)
		f.Add(c.now)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := e164.Parse(text, "")
		if err != nil {
			return
		}
		all := e164.Alternates(n)
		if len(all) > 2 {
			t.Errorf("%q has %d forms", n.E164(), len(all))
		}
		for _, m := range all {
			var back e164.Number
			if err := back.UnmarshalText([]byte(m.E164())); err != nil || back != m {
				t.Errorf("%q, a form of %q, is not read back: %v", m.E164(), n.E164(), err)
			}
			if !slices.Contains(e164.Alternates(m), n) {
				t.Errorf("%q is a form of %q, but not the other way round", m.E164(), n.E164())
			}
		}
	})
}
